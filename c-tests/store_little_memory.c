/* Stores data while the kernel refuses the instance more memory. */
#include "observe.h"

#include <sys/resource.h>

#define LARGE ((size_t)8 << 20)

int main(void)
{
	struct rlimit was, none;
	unsigned int instance;
	char *large = calloc(1, LARGE);
	char data[6] = "";
	cs_error_t code;

	if (large == NULL) {
		return 2;
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	if (instance == 2) {
		MUST(sam_data_restore(data, sizeof(data)));
		observe("instance 2 has %s", data);
		return 0;
	}
	MUST(sam_start());
	MUST(sam_data_store("first", 6));
	getrlimit(RLIMIT_AS, &was);
	none = was;
	none.rlim_cur = 1 << 16;
	setrlimit(RLIMIT_AS, &none);
	code = sam_data_store(large, LARGE);
	observe(code == CS_ERR_NO_MEMORY ? "refused" : "sam_data_store: %d", (int)code);
	MUST(sam_data_restore(data, sizeof(data)));
	observe("instance 1 has %s", data);
	raise(SIGKILL);
	return 98;
}
