/* A user presses Ctrl-Z in a terminal and continues the job, or presses Ctrl-C: job_control suspend|interrupt. */
#include "observe.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <termios.h>

#define INTERVAL_MS 1500

static volatile sig_atomic_t interrupts;

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

static void interrupted(int signal_number)
{
	(void)signal_number;
	interrupts++;
}

/* The job: a supervised program in the foreground of the terminal. */
static int job(pid_t *program)
{
	unsigned int instance;
	int i;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 1;
	}
	on_signal(SIGINT, interrupted);
	MUST(sam_start());
	*program = getpid();
	for (i = 0; i < 100 && *program != 0; i++) { /* the shell stores 0 when it is done */
		sleep_ms(INTERVAL_MS / 10);
		MUST(sam_hc_send());
	}
	observe("alive, SIGINT: %d", (int)interrupts);
	MUST(sam_stop());
	return 3;
}

/* The shell: starts the job, and types for the user. */
static void shell(int terminal, int user, int suspend)
{
	volatile pid_t *program = shared_memory(sizeof(*program));
	pid_t child;
	int status, i;

	on_signal(SIGTTOU, SIG_IGN);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		on_signal(SIGTTOU, SIG_DFL);
		setpgid(0, 0);
		exit(job((pid_t *)program));
	}
	setpgid(child, child);
	if (tcsetpgrp(terminal, child) != 0) {
		leave_out("cannot make a terminal");
	}
	for (i = 0; i < 2000 && *program == 0; i++) {
		sleep_ms(10);
	}
	sleep_ms(INTERVAL_MS / 2);
	if (write(user, suspend ? "\032" : "\003", 1) != 1) {
		_exit(98);
	}
	if (suspend) {
		waitpid(child, &status, WUNTRACED);
		observe(WIFSTOPPED(status) ? "supervisor stopped" : "supervisor gone");
		for (i = 0; i < 2000 && process_state(*program) != 'T'; i++) {
			sleep_ms(10);
		}
		observe("instance stopped: %s", process_state(*program) == 'T' ? "yes" : "no");
		sleep_ms(3 * INTERVAL_MS);
		kill(-child, SIGCONT);
	}
	sleep_ms(2 * INTERVAL_MS);
	*program = 0;
	waitpid(child, &status, 0);
	observe(WIFEXITED(status) ? "the job ended with %d" : "the job ended by signal %d",
		WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	_exit(0);
}

int main(int argc, char **argv)
{
	int user = posix_openpt(O_RDWR | O_NOCTTY);
	const char *name;
	pid_t child;
	int status;

	if (argc != 2) {
		return 2;
	}
	if (user < 0 || grantpt(user) != 0 || unlockpt(user) != 0 || (name = ptsname(user)) == NULL) {
		leave_out("cannot make a terminal");
	}
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setsid();
		shell(open(name, O_RDWR), user, strcmp(argv[1], "suspend") == 0); /* becomes the session's terminal */
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
