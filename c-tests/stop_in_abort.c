/* A hung instance stops or finalizes in the handler of the hang signal: stop_in_abort stop|finalize. Needs
 * SAM_HANG_SIGNAL=ABRT. */
#include "observe.h"

#define INTERVAL_MS 1000

static int finalizes;

static void on_abort(int number)
{
	(void)number;
	say(finalizes ? "sam_finalize" : "sam_stop");
	say((finalizes ? sam_finalize() : sam_stop()) == CS_OK ? ": 1\n" : ": refused\n");
	_exit(0);
}

int main(int argc, char **argv)
{
	unsigned int instance;

	if (argc != 2) {
		return 2;
	}
	finalizes = strcmp(argv[1], "finalize") == 0;
	on_signal(SIGTERM, SIG_IGN);
	on_signal(SIGABRT, on_abort);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	MUST(sam_start());
	if (instance == 1) {
		hang();
	}
	MUST(sam_stop());
	return 3;
}
