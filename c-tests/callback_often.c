/* Counts how often a callback is called with an interval of 2 ms. */
#include "observe.h"

#define INTERVAL 2
#define CALLS 100
/* Far longer than a busy machine needs for these calls. */
#define LONG_MS 30000

static struct seen {
	long since;
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
	long took;

	seen = shared_memory(sizeof(*seen));
	seen->since = now_ms();
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance)); /* returns again if the machine is too busy for this interval */
	MUST(sam_hc_callback_register(check));
	MUST(sam_start());
	while (seen->calls < CALLS && now_ms() - seen->since < LONG_MS) {
		sleep_ms(1);
	}
	MUST(sam_stop());
	took = now_ms() - seen->since;
	observe("# %ld calls in %ld ms", seen->calls, took);
	observe(seen->calls < CALLS                         ? "hardly ever called"
		: seen->calls <= 2 * (took / INTERVAL + 1) ? "about once per interval"
							    : "far more often than once per interval");
	return 0;
}
