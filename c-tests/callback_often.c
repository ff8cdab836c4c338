/* Counts how often a callback is called with an interval of 2 ms. */
#include "observe.h"

#define INTERVAL_MS 2
#define CALLS 100
/* Far longer than a busy machine needs for these calls. */
#define LONG_MS 30000

static struct seen {
	long since_ms;
	long calls;
} *seen;

static int check(void)
{
	seen->calls++;
	return 0;
}

int main(void)
{
	unsigned int instance;
	long took_ms;

	seen = shared_memory(sizeof(*seen));
	seen->since_ms = now_ms();
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance)); /* returns again if the machine is too busy for this interval */
	MUST(sam_hc_callback_register(check));
	MUST(sam_start());
	while (seen->calls < CALLS && now_ms() - seen->since_ms < LONG_MS) {
		sleep_ms(1);
	}
	MUST(sam_stop());
	took_ms = now_ms() - seen->since_ms;
	observe("# %ld calls in %ld ms", seen->calls, took_ms);
	observe(seen->calls < CALLS                         ? "called too seldom"
		: seen->calls <= 2 * (took_ms / INTERVAL_MS + 1) ? "about once per interval"
							    : "far more often than once per interval");
	return 0;
}
