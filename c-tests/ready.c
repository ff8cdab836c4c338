/* Calls sam_start when SIGUSR1 arrives. What follows SIGTERM depends on the argument: clean (stop and exit with 0), crash
 * (SIGSEGV) or ignore. SIGUSR2 crashes the instance at any time. */
#include "observe.h"

static volatile sig_atomic_t told, ended;

static void on_told(int number)
{
	(void)number;
	told = 1;
}

static void on_end(int number)
{
	(void)number;
	say("SIGTERM\n");
	ended = 1;
}

static void on_abort(int number)
{
	(void)number;
	say("SIGABRT\n");
}

static void on_crash(int number)
{
	(void)number;
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

/* Waits for a signal that is unblocked here alone, so that none arrives between the test and the wait. */
static void wait_until(volatile sig_atomic_t *is_true)
{
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);
	sigprocmask(SIG_BLOCK, &all, NULL);
	while (!*is_true) {
		sigsuspend(&none);
	}
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int main(int argc, char **argv)
{
	const char *at_end = argc > 1 ? argv[1] : "clean";
	unsigned int instance;

	on_signal(SIGUSR1, on_told);
	on_signal(SIGUSR2, on_crash);
	on_signal(SIGTERM, on_end);
	on_signal(SIGABRT, on_abort);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("# pid of %u %ld", instance, (long)getpid());
	wait_until(&told);
	MUST(sam_start());
	observe("instance %u started", instance);
	wait_until(&ended);
	while (strcmp(at_end, "ignore") == 0) {
		pause();
	}
	if (strcmp(at_end, "crash") == 0) {
		on_crash(0);
	}
	MUST(sam_stop());
	return 0;
}
