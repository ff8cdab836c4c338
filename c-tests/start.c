/* Silence counts from sam_start to sam_stop. */
#include "observe.h"

#define INTERVAL 300

static long started;

static void warned(int signal_number)
{
	(void)signal_number;
	observe("warned %s", now_ms() - started < INTERVAL ? "too early" : "an interval after the start");
}

int main(void)
{
	unsigned int instance;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	sleep_ms(3 * INTERVAL);
	observe("registered: silence is no matter");
	MUST(sam_start());
	MUST(sam_stop());
	sleep_ms(3 * INTERVAL);
	observe("stopped: silence is no matter");
	started = now_ms();
	MUST(sam_start());
	hang();
	return 0;
}
