/* The supervisor gets no processor for 2.5 s at a time, while the instance is well or hangs: held_supervisor
 * beat|hang. */
#include "hold.h"

#include <sys/prctl.h>

#define INTERVAL 1500
#define HOLDS 3

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(int argc, char **argv)
{
	long *silent_since = shared_memory(sizeof(*silent_since));
	pid_t supervisor = getpid();
	unsigned int instance;
	long silence;
	pid_t holder;
	int i;

	if (argc != 2) {
		return 2;
	}
	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		silence = now_ms() - *silent_since;
		observe(silence >= 2 * INTERVAL - 1 && silence < 20000 ? "in time" : "after %ld ms", silence);
		return 0;
	}
	MUST(sam_start());
	holder = fork();
	if (holder == 0) {
		/* With the instance: the pid of the supervisor may then be that of any process. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (i = 0; i < HOLDS; i++) {
			hold(supervisor, 5 * INTERVAL / 3);
			sleep_ms(INTERVAL / 2);
		}
		_exit(0);
	}
	*silent_since = now_ms();
	if (strcmp(argv[1], "hang") == 0) {
		hang();
	}
	do {
		MUST(sam_hc_send());
		sleep_ms(INTERVAL / 20);
	} while (waitpid(holder, NULL, WNOHANG) == 0);
	observe("alive");
	MUST(sam_stop());
	return 0;
}
