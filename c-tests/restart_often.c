/* The instance id counts every restart. */
#include "observe.h"

int main(void)
{
	unsigned int *last = shared_memory(sizeof(*last));
	unsigned int instance;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	if (instance != *last + 1) {
		observe("instance %u came after %u", instance, *last);
		give_up();
	}
	*last = instance;
	if (instance == 20) {
		observe("20 instances, counted one by one");
		return 0;
	}
	MUST(sam_start());
	return 1;
}
