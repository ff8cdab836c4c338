/* sam_register returns in a new process, the instance. The calling process becomes the supervisor and keeps its pid. */
#include "observe.h"

int main(int argc, char **argv)
{
	pid_t caller = getpid();
	unsigned int instance = 77;

	MUST(sam_initialize(1000, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(argc > 1 && strcmp(argv[1], "null") == 0 ? NULL : &instance));
	observe("instance %u: %s pid, the parent is %s", instance, getpid() == caller ? "the caller's" : "a new",
		getppid() == caller ? "the caller" : "another process");
	return 0;
}
