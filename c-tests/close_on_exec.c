/* Counts the descriptors that programs started by the instance inherit from the library. */
#include "observe.h"

static int descriptors_of_a_child(void)
{
	FILE *list = popen("ls /proc/self/fd | wc -l", "r");
	int count = -1;

	if (list == NULL || fscanf(list, "%d", &count) != 1) {
		count = -1;
	}
	pclose(list);
	return count;
}

int main(void)
{
	int before = descriptors_of_a_child();
	unsigned int instance;

	MUST(sam_initialize(1000, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_data_store("data", 5));
	MUST(sam_register(&instance));
	observe("%d more descriptors", descriptors_of_a_child() - before);
	return 0;
}
