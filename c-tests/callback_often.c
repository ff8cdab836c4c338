/* An interval of 2 ms: how often the callback is called. */
#include "observe.h"

#define INTERVAL 2
#define WHILE 400

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

	seen = shared_memory(sizeof(*seen));
	seen->since = now_ms();
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance)); /* more than once on a machine too busy for such an interval */
	MUST(sam_hc_callback_register(check));
	MUST(sam_start());
	while (now_ms() - seen->since < WHILE) {
		sleep_ms(1);
	}
	MUST(sam_stop());
	observe("# %ld calls", seen->calls);
	observe(seen->calls == 0                      ? "never called"
		: seen->calls <= 2 * WHILE / INTERVAL ? "about once per interval"
						      : "far more often than once per interval");
	return 0;
}
