/* With a callback, the library sends the heartbeats, and calls the callback about once per interval. */
#include "observe.h"

#define INTERVAL_MS 2500

static volatile sig_atomic_t calls;

static int check(void)
{
	calls++;
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
	int before_start, once_stopped;
	long started_at_ms, intervals;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	MUST(sam_hc_callback_register(check));
	sleep_ms(INTERVAL_MS);
	before_start = calls;
	started_at_ms = now_ms();
	MUST(sam_start());
	while (calls < 2 && now_ms() - started_at_ms < 60 * INTERVAL_MS) {
		sleep_ms(INTERVAL_MS / 10);
	}
	sleep_ms(2 * INTERVAL_MS);
	MUST(sam_stop());
	intervals = (now_ms() - started_at_ms) / INTERVAL_MS;
	sleep_ms(INTERVAL_MS / 10);
	once_stopped = calls;
	sleep_ms(2 * INTERVAL_MS);
	observe("instance %u: alive, called %s before the start, %s while started, %s after the stop", instance,
		before_start == 0 ? "never" : "already",
		once_stopped < 2 ? "too seldom" : once_stopped > intervals + 1 ? "too often" : "about once per interval",
		calls == once_stopped ? "never" : "still");
	return 0;
}
