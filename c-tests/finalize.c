/* After sam_finalize the instance is neither warned nor killed: finalize registered|started. */
#include "observe.h"

#define INTERVAL_MS 1500

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(int argc, char **argv)
{
	unsigned int instance;

	if (argc != 2) {
		return 2;
	}
	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	if (strcmp(argv[1], "started") == 0) {
		MUST(sam_start());
	}
	MUST(sam_finalize());
	sleep_ms(3 * INTERVAL_MS);
	observe("instance %u: alive", instance);
	return 7;
}
