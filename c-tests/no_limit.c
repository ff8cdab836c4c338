/* Without an interval there is no deadline: only a death leads to a restart: no_limit INTERVAL. */
#include "observe.h"

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(int argc, char **argv)
{
	unsigned int instance;

	if (argc != 2) {
		return 2;
	}
	on_signal(SIGTERM, warned);
	MUST(sam_initialize(atoi(argv[1]), SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	MUST(sam_start());
	if (instance == 1) {
		sleep_ms(1000);
		observe("instance 1: silent for a second");
		raise(SIGKILL);
	}
	observe("instance %u", instance);
	MUST(sam_hc_send());
	MUST(sam_stop());
	return 0;
}
