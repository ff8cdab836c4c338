/* A program without a handler is killed by its warning signal, and restarted. A stopped program is not even killed by
 * the warning: default_warning hang|stop. */
#include "observe.h"

int main(int argc, char **argv)
{
	unsigned int instance;

	if (argc != 2) {
		return 2;
	}
	MUST(sam_initialize(200, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 0;
	}
	MUST(sam_start());
	if (strcmp(argv[1], "stop") == 0) {
		raise(SIGSTOP);
	}
	hang();
	return 0;
}
