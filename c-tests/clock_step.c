/* The wall clock is set back and forth by ten intervals, for 2 ms each, while an instance is healthy, and while it
 * hangs. What the steps add up to is nothing. */
#include "observe.h"

#include <sys/timex.h>

#define INTERVAL 1500

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
		leave_out("the clock cannot be set");
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
	long *silent_since = shared_memory(sizeof(*silent_since));
	unsigned int instance;
	long silence;
	int i;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		silence = now_ms() - *silent_since;
		observe(silence >= 2 * INTERVAL - 1 && silence < 20 * INTERVAL ? "in time" : "after %ld ms", silence);
		return 0;
	}
	MUST(sam_start());
	for (i = 0; i < 40; i++) {
		if (i == 10 || i == 20) {
			step_for_a_moment(i == 10 ? 3 : -3);
		}
		MUST(sam_hc_send());
		sleep_ms(INTERVAL / 20);
	}
	observe("hangs");
	MUST(sam_hc_send());
	*silent_since = now_ms();
	sleep_ms(INTERVAL / 2);
	step_for_a_moment(-3);
	hang();
	return 0;
}
