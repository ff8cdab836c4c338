/* An instance forks a process that continues in its place, and exits with 0: daemonize HOW WHEN THEN INTERVAL
 * HOW: daemon (daemon(3)), fork (fork, _exit), slow (the same with 30 ms in between), twice (fork, setsid, fork), late
 * (fork, and the parent exits three intervals later)
 * WHEN: registered (before sam_start), started (after it), callback (before it, with a callback instead of heartbeats)
 * THEN, done by the first instance: crash, hang, stop (sam_stop, exit with 0), exit (exit with 0), kill (kill the
 * supervisor), term (send SIGTERM to the supervisor) */
#include "observe.h"

/* The time in s after which SIGALRM ends a process that a failed test has left behind. */
#define LONGEST_S 60

static volatile sig_atomic_t warnings;

static int healthy(void)
{
	return 0;
}

static void warned(int number)
{
	(void)number;
	warnings++;
	say("warned\n");
}

/* Forks. The parent exits after a delay, the child returns. */
static void fork_and_leave(int delay_ms)
{
	switch (fork()) {
	case -1:
		observe("fork: %s", strerror(errno));
		_exit(97);
	case 0:
		alarm(LONGEST_S);
		return;
	}
	sleep_ms(delay_ms);
	_exit(0);
}

/* Continues in a forked process. */
static void go_on(const char *how, int interval_ms)
{
	if (strcmp(how, "daemon") == 0) {
		if (daemon(1, 1) != 0) {
			observe("daemon: %s", strerror(errno));
			_exit(97);
		}
		alarm(LONGEST_S);
		return;
	}
	fork_and_leave(strcmp(how, "late") == 0 ? 3 * interval_ms : strcmp(how, "slow") == 0 ? 30 : 0);
	if (strcmp(how, "twice") == 0) {
		setsid();
		fork_and_leave(0);
	}
}

/* Stays alive for longer than the interval, with heartbeats from here or from the callback thread. */
static void beat(int interval_ms, int has_callback)
{
	long until_ms;

	/* A silent instance would be warned an interval after sam_start, so sleep for longer. */
	if (interval_ms == 0 || has_callback) {
		sleep_ms(500 + 2 * interval_ms);
		return;
	}
	for (until_ms = now_ms() + 3 * interval_ms / 2; now_ms() < until_ms; sleep_ms(interval_ms / 16)) {
		cs_error_t result = sam_hc_send();

		if (result != CS_OK) {
			observe("sam_hc_send: %d", (int)result);
			_exit(96);
		}
	}
}

static void signal_and_wait(pid_t supervisor, int number)
{
	long until_ms = now_ms() + 20000;

	kill(supervisor, number);
	while (warnings == 0 && now_ms() < until_ms) {
		sleep_ms(10);
	}
}

int main(int argc, char **argv)
{
	pid_t supervisor = getpid();
	unsigned int instance;
	int started, has_callback, interval_ms;
	const char *then;

	if (argc != 5) {
		return 2;
	}
	started = strcmp(argv[2], "started") == 0;
	has_callback = strcmp(argv[2], "callback") == 0;
	then = argv[3];
	interval_ms = atoi(argv[4]);
	MUST(sam_initialize(interval_ms, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	if (instance > 2) {
		observe("instance %u", instance);
		_exit(95);
	}
	on_signal(SIGTERM, warned);
	if (started) {
		MUST(sam_start());
	} else if (has_callback) {
		MUST(sam_hc_callback_register(healthy));
	}
	go_on(argv[1], interval_ms);
	if (!started) {
		/* Call sam_start late, as a slow daemon does. */
		sleep_ms(2 * interval_ms);
		MUST(sam_start());
	}
	beat(interval_ms, has_callback);
	observe("instance %u is alive", instance);
	if (instance == 1) {
		if (strcmp(then, "crash") == 0) {
			raise(SIGKILL);
		} else if (strcmp(then, "hang") == 0) {
			hang();
		} else if (strcmp(then, "exit") == 0) {
			_exit(0);
		} else if (strcmp(then, "kill") == 0) {
			signal_and_wait(supervisor, SIGKILL);
			/* A second SIGTERM would arrive with the first, or at the next check of the callback thread. */
			sleep_ms(2 * interval_ms);
			observe("sam_hc_send: %d", (int)sam_hc_send());
			return 0;
		} else if (strcmp(then, "term") == 0) {
			signal_and_wait(supervisor, SIGTERM);
			return 6;
		}
	}
	MUST(sam_stop());
	return 0;
}
