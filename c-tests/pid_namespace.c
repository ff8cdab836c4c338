/* A program whose children are in another PID namespace than itself: pid_namespace new|existing
 * new: the first instance is process 1 of it; existing: another process is. */
#include "observe.h"

#include <sched.h>
#include <sys/prctl.h>

#define INTERVAL 1500

int main(int argc, char **argv)
{
	unsigned int instance = 0;
	cs_error_t result;
	long until;

	if (argc != 2) {
		return 2;
	}
	if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) {
		leave_out("no new PID namespace");
	}
	if (strcmp(argv[1], "existing") == 0) {
		switch (fork()) {
		case -1:
			leave_out("no process in the new PID namespace");
			break;
		case 0:
			/* Process 1, until the supervisor ends. */
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			sleep_ms(60000);
			_exit(0);
		}
	}
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART));
	result = sam_register(&instance);
	if (result != CS_OK) {
		observe("the program's code runs in the supervisor: sam_register: %d", (int)result);
		return 1;
	}
	observe("instance %u", instance);
	MUST(sam_start());
	for (until = now_ms() + 4 * INTERVAL; now_ms() < until; sleep_ms(INTERVAL / 8)) {
		MUST(sam_hc_send());
	}
	observe("alive after four intervals");
	if (instance == 1) {
		_exit(3);
	}
	MUST(sam_stop());
	return 0;
}
