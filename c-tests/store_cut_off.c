/* Instances die in the middle of a store. The next instance must read whole data, new or old. */
#include "observe.h"

#include <pthread.h>

#define SIZE ((size_t)2 << 20)
#define INSTANCES 25

static unsigned int instance;

static void *end_soon(void *unused)
{
	struct timespec soon = {0, 3000000L + instance * 137000L};

	nanosleep(&soon, NULL);
	raise(SIGKILL);
	return unused;
}

int main(void)
{
	int *damaged = shared_memory(sizeof(*damaged));
	char *data = calloc(1, SIZE);
	pthread_t ender;
	size_t size, i;

	if (data == NULL) {
		return 2;
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_data_store(data, SIZE));
	MUST(sam_register(&instance));
	MUST(sam_data_getsize(&size));
	if (size != SIZE) {
		++*damaged;
	} else {
		MUST(sam_data_restore(data, SIZE));
		for (i = 1; i < SIZE && data[i] == data[0]; i++) {
		}
		*damaged += i < SIZE;
	}
	if (instance == INSTANCES) {
		observe("%d instances, data damaged: %d", INSTANCES, *damaged);
		return 0;
	}
	MUST(sam_start());
	pthread_create(&ender, NULL, end_soon, NULL);
	for (;;) {
		memset(data, data[0] + 1, SIZE);
		MUST(sam_data_store(data, SIZE));
	}
}
