/* An instance forks a process that continues in its place, and exits with 0: goes_on WHAT
 * term, usr1: the supervisor receives this signal after the exit, and before the process makes a call
 * shown: the process continues until it receives SIGTERM
 * helper: the process forks a helper and crashes
 * early: the instance forks nothing; a child from before sam_register has left a daemon behind */
#include "observe.h"

#include <sys/prctl.h>

/* The time in s after which SIGALRM ends a process that a failed test has left behind. */
#define LONGEST_S 60

static struct {
	volatile pid_t other;
	volatile int is_asked_for;
} *common;
static volatile sig_atomic_t arrived;
static const char *stage = " before sam_start\n";

static void note(int number)
{
	arrived = number;
	say(number == SIGTERM ? "SIGTERM" : "SIGUSR1");
	say(number == SIGTERM ? "\n" : stage);
}

static void wait_for_signal(void)
{
	long until_ms = now_ms() + 20000;

	while (arrived == 0 && now_ms() < until_ms) {
		sleep_ms(10);
	}
}

static void pause_for_ever(void)
{
	alarm(LONGEST_S);
	for (;;) {
		pause();
	}
}

/* Forks a child that makes a daemon on request, like an independent helper of the program. */
static void make_early_daemon(void)
{
	pid_t early = fork();

	if (early == -1) {
		leave_out("fork");
	}
	if (early == 0) {
		alarm(LONGEST_S);
		while (!common->is_asked_for) {
			sleep_ms(10);
		}
		if (fork() == 0) {
			setsid();
			common->other = getpid();
			pause_for_ever();
		}
		while (common->other == 0) {
			sleep_ms(10);
		}
		_exit(0);
	}
}

/* Returns in a forked process whose parent has exited. Its new parent is the supervisor. */
static void go_on(void)
{
	pid_t parent = getpid();

	switch (fork()) {
	case -1:
		leave_out("fork");
		break;
	case 0:
		alarm(LONGEST_S);
		while (getppid() == parent) {
			sleep_ms(1);
		}
		return;
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t supervisor = getpid();
	unsigned int instance;
	int is_subreaper = 0;
	const char *what;

	if (argc != 2) {
		return 2;
	}
	what = argv[1];
	common = shared_memory(sizeof(*common));
	if (strcmp(what, "early") == 0) {
		make_early_daemon();
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	on_signal(SIGTERM, note);
	on_signal(SIGUSR1, note);
	observe("instance %u", instance);
	if (instance > 1) {
		if (common->other != 0) {
			observe("the other process is %s", kill(common->other, SIGKILL) == 0 ? "alive" : "gone");
		}
		return 0;
	}
	if (strcmp(what, "early") == 0) {
		MUST(sam_start());
		common->is_asked_for = 1;
		/* The daemon is reparented to the supervisor, which is a subreaper. */
		while (common->other == 0) {
			sleep_ms(10);
		}
		sleep_ms(500);
		_exit(0);
	}
	prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper);
	if (is_subreaper) {
		observe("the instance is a subreaper");
	}
	if (strcmp(what, "shown") == 0 || strcmp(what, "helper") == 0) {
		MUST(sam_start());
		go_on();
		MUST(sam_hc_send());
		if (strcmp(what, "helper") == 0) {
			pid_t helper = fork();

			if (helper == 0) {
				pause_for_ever();
			}
			common->other = helper;
			/* Wait until the supervisor has adopted this process; until then its end counts for nothing. */
			sleep_ms(2000);
			raise(SIGKILL);
		}
		observe("# goes on as %d", (int)getpid());
		wait_for_signal();
		return 6;
	}
	go_on();
	kill(supervisor, strcmp(what, "term") == 0 ? SIGTERM : SIGUSR1);
	sleep_ms(300);
	stage = " after sam_start\n";
	MUST(sam_start());
	wait_for_signal();
	if (arrived == SIGTERM) {
		return 6;
	}
	raise(SIGKILL);
	return 0;
}
