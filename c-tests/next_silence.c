/* A warning, a late heartbeat, and a second silence. */
#include "observe.h"

#define INTERVAL_MS 1500

static volatile sig_atomic_t warnings;

static void warned(int signal_number)
{
	(void)signal_number;
	warnings++;
	say("warned\n");
}

int main(void)
{
	unsigned int instance;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 0;
	}
	MUST(sam_start());
	while (warnings == 0) {
		sleep_ms(1);
	}
	observe("late heartbeat: %d", (int)sam_hc_send());
	hang();
	return 0;
}
