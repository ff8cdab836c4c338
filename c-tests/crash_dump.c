/* An instance crashes with core files allowed: crash_dump FOLDER. The core file goes to FOLDER. */
#include "observe.h"

#include <sys/resource.h>

int main(int argc, char **argv)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	unsigned int instance;

	if (argc != 2 || chdir(argv[1]) != 0 || setrlimit(RLIMIT_CORE, &unlimited) != 0) {
		return 2;
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_start());
	raise(SIGSEGV);
	return 98;
}
