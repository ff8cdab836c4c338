/* Sends heartbeats while the supervisor is stopped. They must not block. */
#include "observe.h"

int main(void)
{
	unsigned int instance;
	int i;

	MUST(sam_initialize(60000, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_start());
	kill(getppid(), SIGSTOP);
	observe("supervisor stopped");
	for (i = 0; i < 200000; i++) {
		MUST(sam_hc_send());
	}
	observe("%d heartbeats", i);
	kill(getppid(), SIGCONT);
	MUST(sam_stop());
	return 0;
}
