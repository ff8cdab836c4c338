/* Sends signals to the supervisor while it has no instance: held_signals start|end. Needs SAM_RESTART_DELAY. The
 * signals are held until the next instance calls sam_start, and dropped if the instance ends before. */
#include "observe.h"

#define RT (SIGRTMIN + 1)

static volatile sig_atomic_t user, values[3], count;

static void on_user(int number)
{
	(void)number;
	user++;
}

static void on_value(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (count < 3) {
		values[count] = info->si_value.sival_int;
	}
	count++;
}

/* Waits until the instance has ended, then sends signals to the supervisor. */
static void sender(pid_t supervisor, pid_t instance)
{
	int i;

	while (getppid() == instance) {
		sleep_ms(1);
	}
	kill(supervisor, SIGUSR1);
	kill(supervisor, SIGUSR1);
	for (i = 1; i <= 3; i++) {
		union sigval value;

		memset(&value, 0, sizeof(value));
		value.sival_int = 10 * i;
		sigqueue(supervisor, RT, value);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t supervisor = getpid();
	struct sigaction action;
	unsigned int instance;
	int i;

	if (argc != 2) {
		return 2;
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 1) {
		pid_t this_one = getpid();

		MUST(sam_start());
		if (fork() == 0) {
			sender(supervisor, this_one);
		}
		_exit(1);
	}
	sleep_ms(200); /* without handlers, so that a signal delivered now would kill */
	if (strcmp(argv[1], "end") == 0) {
		return 4;
	}
	on_signal(SIGUSR1, on_user);
	memset(&action, 0, sizeof(action));
	action.sa_sigaction = on_value;
	action.sa_flags = SA_SIGINFO;
	sigaction(RT, &action, NULL);
	MUST(sam_start());
	for (i = 0; i < 2000 && (user == 0 || count < 3); i++) {
		sleep_ms(10);
	}
	observe("SIGUSR1: %d, values %d %d %d", (int)user, (int)values[0], (int)values[1], (int)values[2]);
	MUST(sam_stop());
	return 3;
}
