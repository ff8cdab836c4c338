/* sam_register cannot fork the first instance. */
#include "observe.h"

#include <sys/resource.h>

int main(void)
{
	unsigned int instance = 77;
	struct rlimit was, none;
	cs_error_t code;

	/* RLIMIT_NPROC does not bind root (getrlimit(2)). */
	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
		return 2;
	}
	getrlimit(RLIMIT_NPROC, &was);
	none = was;
	none.rlim_cur = 0;
	MUST(sam_initialize(1000, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_data_store("kept", 5));
	setrlimit(RLIMIT_NPROC, &none);
	errno = 0;
	code = sam_register(&instance);
	observe("sam_register: %d, %s", (int)code, strerror(errno));
	setrlimit(RLIMIT_NPROC, &was);
	observe("sam_start: %d", (int)sam_start());
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	return 3;
}
