/* Every instance has the signal mask and dispositions that the program had when it called sam_register. */
#include "observe.h"

static void handler(int signal_number)
{
	(void)signal_number;
}

/* Prints the blocked signals and the changed dispositions. */
static void show(const char *when)
{
	char list[512] = "";
	int number;

	for (number = 1; number < NSIG; number++) {
		struct sigaction action;
		sigset_t blocked;

		if (number == 32 || number == 33) {
			continue; /* reserved for the C library (signal(7)) */
		}
		sigprocmask(SIG_SETMASK, NULL, &blocked);
		if (sigismember(&blocked, number)) {
			sprintf(list + strlen(list), " %d blocked", number);
		}
		sigaction(number, NULL, &action);
		if (action.sa_handler != SIG_DFL) {
			sprintf(list + strlen(list), " %d %s", number,
				action.sa_handler == SIG_IGN   ? "ignored"
				: action.sa_handler == handler ? "handled"
							       : "handled by another");
		}
	}
	observe("%s:%s", when, list);
}

int main(void)
{
	unsigned int instance;
	sigset_t blocked;
	int number;

	for (number = 1; number < NSIG; number++) {
		on_signal(number, SIG_DFL); /* the caller may have set some to be ignored */
	}
	on_signal(SIGINT, handler);
	on_signal(SIGPIPE, SIG_IGN);
	on_signal(SIGUSR2, SIG_IGN);
	on_signal(SIGCHLD, SIG_IGN);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGHUP);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	MUST(sam_initialize(10000, SAM_RECOVERY_POLICY_RESTART));
	show("initialized");
	MUST(sam_register(&instance));
	show("registered");
	MUST(sam_start());
	show("started");
	if (instance == 1) {
		on_signal(SIGUSR2, handler);
		sigaddset(&blocked, SIGUSR2);
		sigprocmask(SIG_SETMASK, &blocked, NULL);
		return 1;
	}
	MUST(sam_stop());
	return 0;
}
