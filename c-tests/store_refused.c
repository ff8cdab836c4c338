/* Stores data that is larger than the memory that the supervisor may use. */
#include "observe.h"

#include <sys/resource.h>

#define LARGE ((size_t)64 << 20)

int main(void)
{
	struct rlimit little = {(rlim_t)16 << 20, (rlim_t)16 << 20};
	unsigned int instance;
	char *large = calloc(1, LARGE);
	char data[6] = "";
	size_t size;

	if (large == NULL) {
		return 2;
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_data_store("small", 6));
	if (prlimit(getppid(), RLIMIT_AS, &little, NULL) != 0) {
		observe("no limit set: %s", strerror(errno));
		give_up();
	}
	switch (sam_data_store(large, LARGE)) {
	case CS_OK:
		MUST(sam_data_getsize(&size));
		observe(size == LARGE ? "answered" : "lost");
		break;
	case CS_ERR_NO_MEMORY:
		MUST(sam_data_restore(data, sizeof(data)));
		observe(strcmp(data, "small") == 0 ? "answered" : "lost");
		break;
	default:
		observe("unexpected code");
	}
	MUST(sam_data_store("more", 5));
	return 0;
}
