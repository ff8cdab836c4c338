/* Sets the wall clock back and forth by 3 s, which is two intervals, for 2 ms each, while the instance is healthy and
 * while it hangs. The steps add up to zero. */
#include "observe.h"

#include <sys/timex.h>

#define INTERVAL_MS 1500

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

static void step(long seconds)
{
	struct timex change;

	memset(&change, 0, sizeof(change));
	change.modes = ADJ_SETOFFSET;
	change.time.tv_sec = seconds;
	if (adjtimex(&change) < 0) {
		leave_out("cannot set the clock");
	}
}

static void step_for_a_moment(long seconds)
{
	step(seconds);
	sleep_ms(2);
	step(-seconds);
}

int main(void)
{
	long *silent_since_ms = shared_memory(sizeof(*silent_since_ms));
	unsigned int instance;
	long silence_ms;
	int i;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		silence_ms = now_ms() - *silent_since_ms;
		observe(silence_ms >= 2 * INTERVAL_MS - 1 && silence_ms < 20 * INTERVAL_MS ? "in time" : "after %ld ms",
			silence_ms);
		return 0;
	}
	MUST(sam_start());
	for (i = 0; i < 40; i++) {
		if (i == 10 || i == 20) {
			step_for_a_moment(i == 10 ? 3 : -3);
		}
		MUST(sam_hc_send());
		sleep_ms(INTERVAL_MS / 20);
	}
	observe("hangs");
	MUST(sam_hc_send());
	*silent_since_ms = now_ms();
	sleep_ms(INTERVAL_MS / 2);
	step_for_a_moment(-3);
	hang();
	return 0;
}
