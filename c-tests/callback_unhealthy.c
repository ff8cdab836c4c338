/* A callback says unhealthy, which leads to a warning, a kill and a restart. */
#include "observe.h"

#define INTERVAL_MS 2000

static int calls;

static int check(void)
{
	if (++calls < 2) {
		return 0;
	}
	say("unhealthy\n");
	return 1;
}

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(void)
{
	unsigned int instance;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 0;
	}
	MUST(sam_hc_callback_register(check));
	MUST(sam_start());
	hang();
	return 0;
}
