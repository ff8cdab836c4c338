/* An instance that drops root's privileges is supervised as before. */
#include "observe.h"

int main(void)
{
	static char large[1 << 20];
	unsigned int instance;

	MUST(sam_initialize(1500, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	if (setgid(65534) != 0 || setuid(65534) != 0) {
		observe("not root");
		give_up();
	}
	MUST(sam_data_restore(large, sizeof(large)));
	observe("instance %u: %s", instance, large);
	if (instance == 3) {
		return 0;
	}
	MUST(sam_start());
	sprintf(large, "data of instance %u", instance);
	MUST(sam_data_store(large, sizeof(large)));
	if (instance == 1) {
		raise(SIGKILL);
	}
	hang();
	return 0;
}
