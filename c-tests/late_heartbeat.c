/* A heartbeat after the warning cancels the kill. */
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
	int i;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	MUST(sam_start());
	if (instance > 1) {
		MUST(sam_stop());
		return 1;
	}
	while (warnings == 0) {
		sleep_ms(1);
	}
	for (i = 0; i < 30; i++) {
		MUST(sam_hc_send());
		sleep_ms(INTERVAL_MS / 10);
	}
	observe("alive three intervals after the warning");
	MUST(sam_stop());
	return 0;
}
