/* A hung instance is another user than its supervisor, which may not signal it, and some time later it may:
 * kill_refused. */
#include "observe.h"

#define INTERVAL 100
#define NOBODY 65534

int main(void)
{
	unsigned int instance;

	/* The supervisor has no rights, and its instance can get them back. */
	if (setresuid(NOBODY, NOBODY, 0) != 0) {
		leave_out("not root");
	}
	on_signal(SIGTERM, SIG_IGN);
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		MUST(sam_start());
		MUST(sam_stop());
		return 3;
	}
	if (setresuid(0, 0, 0) != 0) {
		leave_out("not root again");
	}
	MUST(sam_start());
	sleep_ms(20 * INTERVAL); /* it should be dead by now, but nobody may kill it */
	say("lives\n");
	if (setresuid(NOBODY, NOBODY, NOBODY) != 0) {
		return 1;
	}
	hang();
	return 0;
}
