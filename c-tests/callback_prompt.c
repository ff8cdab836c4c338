/* Measures the time from a callback that says unhealthy to the warning. */
#include "observe.h"

#define INTERVAL_MS 4000

static volatile long unhealthy_at_ms;
static volatile long warned_at_ms;

static int check(void)
{
	unhealthy_at_ms = now_ms();
	return -1;
}

static void warned(int signal_number)
{
	(void)signal_number;
	warned_at_ms = now_ms();
}

int main(void)
{
	unsigned int instance;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_hc_callback_register(check));
	MUST(sam_start());
	while (warned_at_ms == 0) {
		sleep_ms(1);
	}
	MUST(sam_stop());
	observe("# %ld ms", warned_at_ms - unhealthy_at_ms);
	observe(warned_at_ms - unhealthy_at_ms < INTERVAL_MS / 2 ? "warned at once" : "warned an interval later");
	return 0;
}
