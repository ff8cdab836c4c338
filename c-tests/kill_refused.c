/* A hung instance runs as another user, so its supervisor may not signal it. Some time later the supervisor may. */
#include "observe.h"

#define INTERVAL_MS 1000
#define NOBODY 65534

int main(void)
{
	unsigned int instance;

	/* The supervisor runs without privileges, and the instance can regain them. */
	if (setresuid(NOBODY, NOBODY, 0) != 0) {
		leave_out("not root");
	}
	on_signal(SIGTERM, SIG_IGN);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		MUST(sam_start());
		MUST(sam_stop());
		return 3;
	}
	if (setresuid(0, 0, 0) != 0) {
		leave_out("cannot become root again");
	}
	MUST(sam_start());
	sleep_ms(4 * INTERVAL_MS); /* the supervisor has tried to kill this process by now, and may not */
	say("lives\n");
	if (setresuid(NOBODY, NOBODY, NOBODY) != 0) {
		return 1;
	}
	hang();
	return 0;
}
