/* The supervisor gets no processor for 2.5 s at a time, while the instance is healthy or hangs: held_supervisor
 * beat|hang. */
#include "hold.h"

#include <sys/prctl.h>

#define INTERVAL_MS 1500
#define HOLDS 3

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(int argc, char **argv)
{
	long *silent_since_ms = shared_memory(sizeof(*silent_since_ms));
	pid_t supervisor = getpid();
	unsigned int instance;
	long silence_ms;
	pid_t holder;
	int i;

	if (argc != 2) {
		return 2;
	}
	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		silence_ms = now_ms() - *silent_since_ms;
		observe(silence_ms >= 2 * INTERVAL_MS - 1 && silence_ms < 20000 ? "in time" : "after %ld ms",
			silence_ms);
		return 0;
	}
	MUST(sam_start());
	holder = fork();
	if (holder == 0) {
		/* End with the instance, because the supervisor's pid may be reused after that. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (i = 0; i < HOLDS; i++) {
			hold(supervisor, 5 * INTERVAL_MS / 3);
			sleep_ms(INTERVAL_MS / 2);
		}
		_exit(0);
	}
	*silent_since_ms = now_ms();
	if (strcmp(argv[1], "hang") == 0) {
		hang();
	}
	do {
		MUST(sam_hc_send());
		sleep_ms(INTERVAL_MS / 20);
	} while (waitpid(holder, NULL, WNOHANG) == 0);
	observe("alive");
	MUST(sam_stop());
	return 0;
}
