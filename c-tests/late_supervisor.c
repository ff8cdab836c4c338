/* Program and supervisor are both stopped for a while, as by a suspended machine, or the supervisor alone:
 * late_supervisor both|supervisor. The program is as healthy as before. */
#include "observe.h"

#include <sys/prctl.h>

#define INTERVAL 2000

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(int argc, char **argv)
{
	pid_t supervisor = getpid();
	unsigned int instance;
	int both, i;
	pid_t program, stopper;

	if (argc != 2) {
		return 2;
	}
	both = strcmp(argv[1], "both") == 0;
	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 1;
	}
	MUST(sam_start());
	program = getpid();
	stopper = fork();
	if (stopper == 0) {
		/* With the instance: its pid, and that of the supervisor, may then be that of any process. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (i = 0; i < 2; i++) {
			if (both) {
				kill(program, SIGSTOP);
				sleep_ms(INTERVAL / 12); /* until the supervisor has seen its last heartbeat */
			}
			kill(supervisor, SIGSTOP);
			sleep_ms(3 * INTERVAL);
			kill(supervisor, SIGCONT);
			sleep_ms(INTERVAL / 4);
			if (both) {
				kill(program, SIGCONT);
			}
			sleep_ms(INTERVAL);
		}
		_exit(0);
	}
	do {
		MUST(sam_hc_send());
		sleep_ms(INTERVAL / 12);
	} while (waitpid(stopper, NULL, WNOHANG) == 0);
	observe("alive");
	MUST(sam_stop());
	return 0;
}
