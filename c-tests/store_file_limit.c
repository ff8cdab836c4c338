/* Stores data under a limit of the file size. */
#include "observe.h"

#include <sys/resource.h>

int main(void)
{
	static char large[1 << 20];
	struct rlimit page = {4096, 4096};
	char data[6] = "";
	unsigned int instance;
	cs_error_t code;

	setrlimit(RLIMIT_FSIZE, &page);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 1;
	}
	MUST(sam_start());
	MUST(sam_data_store("small", 6));
	code = sam_data_store(large, sizeof(large));
	observe("# sam_data_store: %d", (int)code);
	if (code == CS_OK) {
		observe("stored or refused");
	} else {
		MUST(sam_data_restore(data, sizeof(data)));
		observe(strcmp(data, "small") == 0 ? "stored or refused" : "lost");
	}
	MUST(sam_stop());
	return 0;
}
