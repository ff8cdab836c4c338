/* Measures the time from a callback that says unhealthy to the warning. */
#include "observe.h"

#define INTERVAL 1200

static volatile long bad_news;
static volatile long warning;

static int check(void)
{
	bad_news = now_ms();
	return -1;
}

static void warned(int signal_number)
{
	(void)signal_number;
	warning = now_ms();
}

int main(void)
{
	unsigned int instance;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_hc_callback_register(check));
	MUST(sam_start());
	while (warning == 0) {
		sleep_ms(1);
	}
	MUST(sam_stop());
	observe("# %ld ms", warning - bad_news);
	observe(warning - bad_news < INTERVAL / 2 ? "warned at once" : "warned an interval later");
	return 0;
}
