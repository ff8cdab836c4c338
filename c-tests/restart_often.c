/* The instance id counts every restart: restart_often COUNT. */
#include "observe.h"

int main(int argc, char **argv)
{
	static const int ends[] = {SIGKILL, SIGTERM, SIGUSR1, SIGALRM};
	unsigned int *last = shared_memory(sizeof(*last));
	unsigned int count, instance;

	if (argc != 2) {
		return 2;
	}
	count = (unsigned int)atoi(argv[1]);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	if (instance != *last + 1) {
		observe("instance %u came after %u", instance, *last);
		give_up();
	}
	*last = instance;
	if (instance == count) {
		observe("%u instances, counted one by one", count);
		return 0;
	}
	MUST(sam_start());
	if (instance % 2 == 0) {
		raise(ends[instance / 2 % 4]);
	}
	return (int)instance % 7;
}
