/* Silence counts from sam_start to sam_stop. */
#include "observe.h"

#define INTERVAL_MS 1200

static long started_at_ms;

static void warned(int signal_number)
{
	(void)signal_number;
	observe("warned %s", now_ms() - started_at_ms < INTERVAL_MS ? "too early" : "an interval after the start");
}

int main(void)
{
	unsigned int instance;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	sleep_ms(3 * INTERVAL_MS);
	observe("registered: silence is ignored");
	MUST(sam_start());
	MUST(sam_stop());
	sleep_ms(3 * INTERVAL_MS);
	observe("stopped: silence is ignored");
	started_at_ms = now_ms();
	MUST(sam_start());
	hang();
	return 0;
}
