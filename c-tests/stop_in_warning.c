/* sam_stop in the warning handler cancels the recovery. */
#include "observe.h"

#define INTERVAL_MS 1500

static void warned(int signal_number)
{
	(void)signal_number;
	observe("warned, sam_stop: %d", (int)sam_stop());
}

int main(void)
{
	unsigned int instance;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	MUST(sam_start());
	sleep_ms(4 * INTERVAL_MS);
	observe("instance %u: alive", instance);
	return 3;
}
