/* An instance that ends while started is restarted from sam_register, with its memory as it was there: restart INTERVAL
 * exit|signal NUMBER. */
#include "observe.h"

int main(int argc, char **argv)
{
	static const char *memory = "untouched";
	pid_t supervisor = getpid();
	unsigned int instance;

	if (argc != 4) {
		return 2;
	}
	MUST(sam_initialize(atoi(argv[1]), SAM_RECOVERY_POLICY_RESTART));
	memory = "as it was at sam_register";
	MUST(sam_register(&instance));
	observe("instance %u: memory %s, %s supervisor", instance, memory,
		getppid() == supervisor ? "the same" : "another");
	memory = "of an instance before";
	MUST(sam_start());
	if (instance == 4) {
		MUST(sam_stop());
		return 5;
	}
	if (strcmp(argv[2], "exit") == 0) {
		_exit(atoi(argv[3]));
	}
	raise(atoi(argv[3]));
	return 98;
}
