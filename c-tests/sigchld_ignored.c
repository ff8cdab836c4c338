/* The last instance of a program that ignores SIGCHLD exits with 7. */
#include "observe.h"

int main(void)
{
	unsigned int instance;

	on_signal(SIGCHLD, SIG_IGN);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	MUST(sam_start());
	return 7;
}
