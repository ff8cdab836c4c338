/* An instance ends in the given state: die POLICY INTERVAL registered|started|stopped exit|signal NUMBER. */
#include "observe.h"

int main(int argc, char **argv)
{
	unsigned int instance;
	int number;

	if (argc != 6) {
		return 2;
	}
	MUST(sam_initialize(atoi(argv[2]),
			    strcmp(argv[1], "QUIT") == 0 ? SAM_RECOVERY_POLICY_QUIT : SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u: %s", instance, argv[3]);
	if (strcmp(argv[3], "registered") != 0) {
		MUST(sam_start());
	}
	if (strcmp(argv[3], "stopped") == 0) {
		MUST(sam_stop());
	}
	number = atoi(argv[5]);
	if (strcmp(argv[4], "exit") == 0) {
		return number;
	}
	raise(number);
	return 98;
}
