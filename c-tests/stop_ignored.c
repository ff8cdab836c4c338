/* The program ignores a stop signal that is sent to its supervisor, and is stopped by SIGSTOP much later, which counts
 * as a hang: stop_ignored NUMBER. */
#include "observe.h"

#define INTERVAL_MS 1500

int main(int argc, char **argv)
{
	pid_t supervisor = getpid();
	unsigned int instance;
	int number, i;

	if (argc != 2) {
		return 2;
	}
	number = atoi(argv[1]);
	on_signal(number, SIG_IGN);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	MUST(sam_start());
	if (instance == 2) {
		MUST(sam_stop());
		return 3;
	}
	kill(supervisor, number);
	for (i = 0; i < 100; i++) { /* 1.5 s or more, so that SIGSTOP cannot be a reaction to the signal */
		sleep_ms(15);
		MUST(sam_hc_send());
	}
	raise(SIGSTOP);
	hang();
	return 0;
}
