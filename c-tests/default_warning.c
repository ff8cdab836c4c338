/* A program that does not handle the warning signal ends by it and is restarted. */
#include "observe.h"

int main(void)
{
	unsigned int instance;

	MUST(sam_initialize(200, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 0;
	}
	MUST(sam_start());
	hang();
	return 0;
}
