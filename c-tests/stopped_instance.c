/* An instance is stopped by a signal and continued soon, or never: stopped_instance short|long. */
#include "observe.h"

#include <sys/prctl.h>

#define INTERVAL 2400

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(int argc, char **argv)
{
	unsigned int instance;
	pid_t program, stopper;
	int i;

	if (argc != 2) {
		return 2;
	}
	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 0;
	}
	MUST(sam_start());
	if (strcmp(argv[1], "long") == 0) {
		raise(SIGSTOP); /* what warns it waits until somebody continues it: nobody does */
		observe("nobody ended the stop");
		return 1;
	}
	program = getpid();
	stopper = fork();
	if (stopper == 0) {
		/* With the instance: its pid, and that of the supervisor, may then be that of any process. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (i = 0; i < 12; i++) {
			kill(program, SIGSTOP);
			sleep_ms(INTERVAL / 8);
			kill(program, SIGCONT);
			sleep_ms(INTERVAL / 8);
		}
		_exit(0);
	}
	do {
		MUST(sam_hc_send());
		sleep_ms(INTERVAL / 20);
	} while (waitpid(stopper, NULL, WNOHANG) == 0);
	observe("alive after three intervals");
	MUST(sam_stop());
	return 0;
}
