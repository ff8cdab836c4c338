/* Supervisor and instance are stopped for a while, as when the machine is suspended, or the supervisor alone:
 * late_supervisor both|supervisor. The instance is healthy all the time. */
#include "observe.h"

#include <sys/prctl.h>

#define INTERVAL_MS 2000

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
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 1;
	}
	MUST(sam_start());
	program = getpid();
	stopper = fork();
	if (stopper == 0) {
		/* End with the instance, because its pid and the supervisor's may be reused after that. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (i = 0; i < 2; i++) {
			if (both) {
				kill(program, SIGSTOP);
				sleep_ms(INTERVAL_MS / 12); /* until the supervisor has seen the last heartbeat */
			}
			kill(supervisor, SIGSTOP);
			sleep_ms(3 * INTERVAL_MS);
			kill(supervisor, SIGCONT);
			sleep_ms(INTERVAL_MS / 4);
			if (both) {
				kill(program, SIGCONT);
			}
			sleep_ms(INTERVAL_MS);
		}
		_exit(0);
	}
	do {
		MUST(sam_hc_send());
		sleep_ms(INTERVAL_MS / 12);
	} while (waitpid(stopper, NULL, WNOHANG) == 0);
	observe("alive");
	MUST(sam_stop());
	return 0;
}
