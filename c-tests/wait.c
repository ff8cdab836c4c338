/* A started instance that prints its pid and waits until the test has examined it. */
#include "observe.h"

int main(void)
{
	unsigned int instance;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_start());
	observe("# instance %d", (int)getpid());
	for (;;) {
		pause();
	}
}
