/* An instance dies while a program that it started lives on. */
#include "observe.h"

int main(void)
{
	pid_t *child = shared_memory(sizeof(*child));
	unsigned int instance;
	pid_t forked;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		kill(*child, SIGKILL);
		return 0;
	}
	MUST(sam_start());
	forked = fork();
	if (forked == 0) {
		execlp("sleep", "sleep", "60", (char *)NULL);
		_exit(127);
	}
	*child = forked;
	sleep_ms(100);
	raise(SIGKILL);
	return 98;
}
