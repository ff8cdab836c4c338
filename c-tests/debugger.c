/* A debugger attaches to the instance and detaches, ten times, then to the supervisor. */
#include "hold.h"

#include <sys/prctl.h>

#define INTERVAL_MS 2400

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(void)
{
	pid_t supervisor = getpid();
	unsigned int instance;
	pid_t program, debugger;
	int i;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 0;
	}
	MUST(sam_start());
	program = getpid();
	debugger = fork();
	if (debugger == 0) {
		/* End with the instance, because its pid and the supervisor's may be reused after that. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (i = 0; i < 10; i++) {
			attach(program, INTERVAL_MS / 12);
			sleep_ms(INTERVAL_MS / 12);
		}
		attach(supervisor, 3 * INTERVAL_MS);
		_exit(0);
	}
	do {
		MUST(sam_hc_send());
		sleep_ms(INTERVAL_MS / 20);
	} while (waitpid(debugger, NULL, WNOHANG) == 0);
	observe("alive");
	sleep_ms(INTERVAL_MS / 4);
	raise(SIGKILL);
	return 98;
}
