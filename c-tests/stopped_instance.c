/* An instance is stopped by a signal, and continued soon or not at all: stopped_instance short|long. */
#include "observe.h"

#include <sys/prctl.h>

#define INTERVAL_MS 2400

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
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 0;
	}
	MUST(sam_start());
	if (strcmp(argv[1], "long") == 0) {
		raise(SIGSTOP); /* the warning stays pending, because no process sends SIGCONT */
		observe("the supervisor did not kill the stopped instance");
		return 1;
	}
	program = getpid();
	stopper = fork();
	if (stopper == 0) {
		/* End with the instance, because its pid and the supervisor's may be reused after that. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (i = 0; i < 12; i++) {
			kill(program, SIGSTOP);
			sleep_ms(INTERVAL_MS / 8);
			kill(program, SIGCONT);
			sleep_ms(INTERVAL_MS / 8);
		}
		_exit(0);
	}
	do {
		MUST(sam_hc_send());
		sleep_ms(INTERVAL_MS / 20);
	} while (waitpid(stopper, NULL, WNOHANG) == 0);
	observe("alive after three intervals");
	MUST(sam_stop());
	return 0;
}
