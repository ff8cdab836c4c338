/* A program that removes its callback must send heartbeats itself again. */
#include "observe.h"

#define INTERVAL_MS 2500

static int check(void)
{
	return 0;
}

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
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_hc_callback_register(check));
	MUST(sam_start());
	sleep_ms(3 * INTERVAL_MS);
	observe("silent and alive with the callback");
	MUST(sam_stop());
	MUST(sam_hc_callback_register(NULL));
	MUST(sam_start());
	for (i = 0; i < 15; i++) {
		sleep_ms(INTERVAL_MS / 5);
		MUST(sam_hc_send());
	}
	observe("alive by its own heartbeats");
	hang();
	return 0;
}
