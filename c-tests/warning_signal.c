/* The warning signal is the one that was set last, by any instance: warning_signal NUMBER before|after, to set it
 * before sam_register or in the first instance. */
#include "observe.h"

static void warned(int signal_number)
{
	observe("warned by %d", signal_number);
}

int main(int argc, char **argv)
{
	unsigned int instance;
	int number;

	if (argc != 3) {
		return 2;
	}
	number = atoi(argv[1]);
	on_signal(SIGTERM, warned);
	on_signal(SIGUSR1, warned);
	on_signal(SIGUSR2, warned);
	MUST(sam_initialize(1200, SAM_RECOVERY_POLICY_RESTART));
	if (strcmp(argv[2], "before") == 0) {
		MUST(sam_warn_signal_set(number));
	}
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (strcmp(argv[2], "after") == 0 && instance == 1) {
		MUST(sam_warn_signal_set(number));
	}
	if (instance == 3) {
		return 0;
	}
	MUST(sam_start());
	hang();
	return 0;
}
