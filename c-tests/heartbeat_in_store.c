/* One thread sends heartbeats while another stores more data than a pipe holds. */
#include "observe.h"

#include <pthread.h>

#define SIZE 1000000
#define STORES 50

static volatile sig_atomic_t end;

static void *beat(void *unused)
{
	while (!end) {
		MUST(sam_hc_send());
	}
	return unused;
}

int main(void)
{
	static char data[SIZE];
	pthread_t beating;
	unsigned int instance;
	size_t size;
	int i;

	MUST(sam_initialize(60000, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_start());
	pthread_create(&beating, NULL, beat, NULL);
	for (i = 1; i <= STORES; i++) {
		memset(data, i, SIZE);
		MUST(sam_data_store(data, SIZE));
	}
	end = 1;
	pthread_join(beating, NULL);
	MUST(sam_data_getsize(&size));
	MUST(sam_data_restore(data, SIZE));
	for (i = 0; i < SIZE && data[i] == STORES; i++) {
	}
	observe("%d stores, %s", STORES, size == SIZE && i == SIZE ? "the last one whole" : "the last one damaged");
	MUST(sam_stop());
	return 0;
}
