/* Each instance leaves a child and an orphaned grandchild behind. The next instance prints how many of them are still
 * there, and whether a child from before sam_register is. */
#include "observe.h"

#include <sys/prctl.h>

enum { LEFT = 2 };

static int is_there(pid_t pid)
{
	return kill(pid, 0) == 0;
}

/* Waits for SIGKILL. */
static void stay(void)
{
	for (;;) {
		pause();
	}
}

int main(void)
{
	pid_t *left = shared_memory(LEFT * sizeof(*left));
	unsigned int instance;
	pid_t supervisor = getpid();
	pid_t early = fork(), child, middle;
	int i, there = 0;

	if (early == 0) {
		/* End with the supervisor. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != supervisor) {
			_exit(0);
		}
		stay();
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	MUST(sam_start());
	for (i = 0; i < LEFT && instance > 1; i++) {
		there += is_there(left[i]);
	}
	observe("instance %u: %d left, the early one is %s", instance, there, is_there(early) ? "there" : "gone");
	if (instance == 3) {
		MUST(sam_stop());
	}
	/* The children inherit this, so that only SIGKILL ends them. */
	on_signal(SIGTERM, SIG_IGN);
	child = fork();
	if (child == 0) {
		stay();
	}
	left[0] = child;
	middle = fork();
	if (middle == 0) {
		child = fork();
		if (child == 0) {
			stay();
		}
		left[1] = child;
		_exit(0);
	}
	while (waitpid(middle, NULL, 0) != middle) {
	}
	for (i = 0; i < LEFT; i++) {
		observe("# left by %u: %d", instance, (int)left[i]);
	}
	_exit(1);
}
