/* A supervised program leads the session of a terminal that hangs up. */
#include "observe.h"

#include <fcntl.h>
#include <sys/prctl.h>

static volatile sig_atomic_t hangups, continues;

static void on_hangup(int number)
{
	(void)number;
	hangups++;
}

static void on_continue(int number)
{
	(void)number;
	continues++;
}

/* Becomes the supervisor and the leader of the terminal's session. */
static void lead(const char *terminal, volatile int *ready)
{
	unsigned int instance;
	int i, opened;

	setsid();
	opened = open(terminal, O_RDWR); /* becomes the session's terminal */
	if (opened < 0 || tcgetpgrp(opened) != getpgrp()) {
		leave_out("cannot make a terminal");
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	on_signal(SIGHUP, on_hangup);
	on_signal(SIGCONT, on_continue);
	MUST(sam_start());
	*ready = 1;
	for (i = 0; i < 1000 && (hangups == 0 || continues == 0); i++) {
		sleep_ms(10);
	}
	observe("SIGHUP: %d, SIGCONT: %d", (int)hangups, (int)continues);
	MUST(sam_stop());
	exit(4);
}

int main(void)
{
	int user = posix_openpt(O_RDWR | O_NOCTTY), status, i;
	volatile int *ready = shared_memory(sizeof(*ready));
	const char *name;
	pid_t child;

	if (user < 0 || grantpt(user) != 0 || unlockpt(user) != 0 || (name = ptsname(user)) == NULL) {
		leave_out("cannot make a terminal");
	}
	fcntl(user, F_SETFD, FD_CLOEXEC);
	child = fork();
	if (child == 0) {
		char path[64];

		strncpy(path, name, sizeof(path) - 1);
		path[sizeof(path) - 1] = '\0';
		close(user);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		lead(path, ready);
	}
	for (i = 0; i < 2000 && *ready == 0 && waitpid(child, &status, WNOHANG) == 0; i++) {
		sleep_ms(10);
	}
	if (*ready == 0) {
		return 1;
	}
	close(user);
	waitpid(child, &status, 0);
	observe(WIFEXITED(status) ? "the supervisor ended with %d" : "the supervisor ended by signal %d",
		WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return 0;
}
