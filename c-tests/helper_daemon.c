/* While an instance runs, a helper forked before sam_register makes a daemon, and the instance makes an orphan. Only
 * the orphan counts as left behind by the instance. */
#include "observe.h"

#include <sys/prctl.h>

struct shared {
	volatile pid_t daemon, orphan;
	volatile int wanted;
};

/* Stays until the supervisor has ended, so that the test leaves nothing behind. */
static void stay(pid_t supervisor)
{
	while (kill(supervisor, 0) == 0) {
		sleep_ms(10);
	}
	_exit(0);
}

/* Forks as daemon(3) does, so that the parent of the new process has exited when this returns. */
static void make_orphan(volatile pid_t *pid, pid_t supervisor)
{
	pid_t middle = fork();

	if (middle == 0) {
		pid_t child = fork();

		if (child == 0) {
			stay(supervisor);
		}
		*pid = child;
		_exit(0);
	}
	waitpid(middle, NULL, 0);
}

int main(void)
{
	struct shared *shared = shared_memory(sizeof(*shared));
	pid_t supervisor = getpid();
	unsigned int instance;

	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (!shared->wanted) {
			sleep_ms(1);
		}
		make_orphan(&shared->daemon, supervisor);
		stay(supervisor);
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	MUST(sam_start());
	if (instance == 1) {
		shared->wanted = 1;
		make_orphan(&shared->orphan, supervisor);
		while (shared->daemon == 0 || shared->orphan == 0) {
			sleep_ms(1);
		}
		sleep_ms(50); /* until both have been reparented to the supervisor */
		_exit(1);
	}
	observe("the helper's daemon: %s", kill(shared->daemon, 0) == 0 ? "there" : "gone");
	observe("the instance's orphan: %s", kill(shared->orphan, 0) == 0 ? "there" : "gone");
	MUST(sam_stop());
	return 0;
}
