/* A callback does not return, so the library sends no more heartbeats. */
#include "observe.h"

static int check(void)
{
	say("checking\n");
	hang();
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

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(2000, SAM_RECOVERY_POLICY_RESTART));
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
