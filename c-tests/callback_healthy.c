/* With a callback, the library sends the heartbeats, and calls the callback about once per interval. */
#include "observe.h"

#define INTERVAL 1000

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
	long started, intervals;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	MUST(sam_hc_callback_register(check));
	sleep_ms(INTERVAL);
	before_start = calls;
	started = now_ms();
	MUST(sam_start());
	while (calls < 2 && now_ms() - started < 60 * INTERVAL) {
		sleep_ms(INTERVAL / 10);
	}
	sleep_ms(2 * INTERVAL);
	MUST(sam_stop());
	intervals = (now_ms() - started) / INTERVAL;
	sleep_ms(INTERVAL / 10);
	once_stopped = calls;
	sleep_ms(2 * INTERVAL);
	observe("instance %u: alive, called %s before the start, %s while started, %s after the stop", instance,
		before_start == 0 ? "never" : "already",
		once_stopped < 2 ? "too seldom" : once_stopped > intervals + 1 ? "too often" : "about once per interval",
		calls == once_stopped ? "never" : "still");
	return 0;
}
