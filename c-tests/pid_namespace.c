/* The children of the program are in another PID namespace than the program: pid_namespace new|existing. In a new
 * namespace the first instance is process 1, in an existing one another process is. */
#include "observe.h"

#include <sched.h>
#include <sys/prctl.h>

#define INTERVAL_MS 1500

int main(int argc, char **argv)
{
	unsigned int instance = 0;
	cs_error_t result;
	long until_ms;

	if (argc != 2) {
		return 2;
	}
	if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) {
		leave_out("cannot make a PID namespace");
	}
	if (strcmp(argv[1], "existing") == 0) {
		switch (fork()) {
		case -1:
			leave_out("cannot fork into the new PID namespace");
			break;
		case 0:
			/* Process 1 of the namespace, which lives until the supervisor ends. */
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			sleep_ms(60000);
			_exit(0);
		}
	}
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	result = sam_register(&instance);
	if (result != CS_OK) {
		observe("the program's code runs in the supervisor");
		observe("# sam_register %d", (int)result);
		return 1;
	}
	observe("instance %u", instance);
	MUST(sam_start());
	for (until_ms = now_ms() + 4 * INTERVAL_MS; now_ms() < until_ms; sleep_ms(INTERVAL_MS / 8)) {
		MUST(sam_hc_send());
	}
	observe("alive after four intervals");
	if (instance == 1) {
		_exit(3);
	}
	MUST(sam_stop());
	return 0;
}
