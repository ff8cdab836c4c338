/* Signals sent to the warm spare do not reach the instance that it becomes. Needs SAM_STANDBY=1. */
#include "observe.h"

/* Returns the first child of `parent` other than `other`, or 0. */
static pid_t child_beside(pid_t parent, pid_t other)
{
	char path[64];
	long pid;
	pid_t found = 0;
	FILE *file;

	sprintf(path, "/proc/%ld/task/%ld/children", (long)parent, (long)parent);
	file = fopen(path, "r");
	if (file == NULL) {
		leave_out("this kernel does not list children");
	}
	while (found == 0 && fscanf(file, "%ld", &pid) == 1) {
		found = pid == other ? 0 : (pid_t)pid;
	}
	fclose(file);
	return found;
}

int main(void)
{
	const int numbers[] = {SIGUSR1, SIGHUP, SIGTERM, SIGRTMIN, SIGRTMIN};
	unsigned int instance;
	pid_t spare = 0;
	size_t i;
	int waits;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		MUST(sam_start());
		sleep_ms(100);
		MUST(sam_stop());
		return 3;
	}
	MUST(sam_start());
	for (waits = 0; waits < 1000 && spare == 0; waits++) {
		sleep_ms(10);
		spare = child_beside(getppid(), getpid());
	}
	if (spare == 0) {
		leave_out("the supervisor has no spare");
	}
	sleep_ms(1000); /* until the spare, just forked, waits with signals blocked */
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		kill(spare, numbers[i]);
	}
	_exit(1);
}
