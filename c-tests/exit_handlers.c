/* Exit handlers registered before sam_register run in each instance that exits, and once in the supervisor:
 * exit_handlers exit|crash, for the end of the last instance. */
#include "observe.h"

static pid_t caller;

static void leaving(void)
{
	say(getpid() == caller ? "supervisor leaves\n" : "instance leaves\n");
}

int main(int argc, char **argv)
{
	unsigned int instance;

	if (argc != 2) {
		return 2;
	}
	caller = getpid();
	atexit(leaving);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 1) {
		MUST(sam_start());
	} else if (strcmp(argv[1], "crash") == 0) {
		raise(SIGSEGV);
	}
	return 4;
}
