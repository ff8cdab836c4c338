/* The supervisor is killed: orphan keep|drop [callback|prompt]. drop: the instance drops root's privileges first.
 * callback: the library sends the heartbeats, and the privileges are dropped after sam_start. prompt: as callback, and
 * the supervisor is killed at once. */
#include "observe.h"

static volatile sig_atomic_t terminated;
static volatile sig_atomic_t calls;

static int healthy(void)
{
	calls++;
	return 0;
}

static void terminate(int signal_number)
{
	(void)signal_number;
	terminated++;
}

static void broken_pipe(int signal_number)
{
	(void)signal_number;
	say("SIGPIPE\n");
}

/* Forks a process that keeps its privileges, and kills the supervisor on request. Returns the pipe for the request. */
static int killer(pid_t supervisor)
{
	int ends[2];
	char byte;

	if (pipe(ends) != 0) {
		give_up();
	}
	if (fork() == 0) {
		close(ends[1]);
		if (read(ends[0], &byte, 1) == 1) {
			kill(supervisor, SIGKILL);
		}
		_exit(0);
	}
	close(ends[0]);
	return ends[1];
}

static void give_up_rights(void)
{
	if (setgid(65534) != 0 || setuid(65534) != 0) {
		leave_out("cannot drop root's privileges");
	}
}

/* Waits until the callback has been called `more` times. */
static void await_calls(int more)
{
	int start = calls, i;

	for (i = 0; i < 2000 && calls - start < more; i++) {
		sleep_ms(10);
	}
}

int main(int argc, char **argv)
{
	unsigned int instance;
	int command, i;
	int drop = argc > 1 && strcmp(argv[1], "drop") == 0;
	int callback = argc > 2;
	pid_t supervisor = getpid();

	if (argc < 2) {
		return 2;
	}
	on_signal(SIGTERM, terminate);
	on_signal(SIGPIPE, broken_pipe);
	MUST(sam_initialize(callback ? 1500 : 60000, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	command = killer(getppid());
	if (callback) {
		MUST(sam_hc_callback_register(healthy));
	} else if (drop) {
		give_up_rights();
	}
	MUST(sam_start());
	if (callback) {
		await_calls(1);
		if (drop) {
			give_up_rights();
		}
		await_calls(strcmp(argv[2], "prompt") == 0 ? 0 : 1);
	}
	observe("supervised, sam_hc_send: %d", (int)sam_hc_send());
	if (write(command, "", 1) != 1) {
		give_up();
	}
	for (i = 0; i < 2000 && getppid() == supervisor; i++) {
		sleep_ms(10);
	}
	for (i = 0; i < 300 && !terminated; i++) {
		sleep_ms(10);
	}
	/* A second SIGTERM would arrive with the first, or at the next check of the callback thread. */
	if (callback) {
		await_calls(2);
	} else {
		sleep_ms(100);
	}
	if (terminated < 2) {
		observe(terminated ? "SIGTERM" : "the instance lives on unsupervised");
	} else {
		observe("SIGTERM, %d times", (int)terminated);
	}
	observe("sam_hc_send: %d", (int)sam_hc_send());
	observe("sam_data_store: %d", (int)sam_data_store("data", 5));
	observe("sam_stop: %d", (int)sam_stop());
	return 0;
}
