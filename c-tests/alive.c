/* Sends heartbeats within the interval, which keep the instance alive. */
#include "observe.h"

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(void)
{
	unsigned int instance;
	int i;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(2500, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	MUST(sam_start());
	for (i = 0; i < 30; i++) {
		sleep_ms(250);
		MUST(sam_hc_send());
	}
	observe("instance %u: alive after three intervals", instance);
	MUST(sam_stop());
	return 0;
}
