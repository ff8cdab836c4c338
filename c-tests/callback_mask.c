/* Checks that the callback, and the commands that it starts, have the signal mask of the thread that registered it. */
#include "observe.h"

#include <pthread.h>

#define INTERVAL_MS 5000

static volatile sig_atomic_t calls;
static volatile long handled_at_ms; /* time of the signal, 0 for none */
static char registered[64];

static void handler(int signal_number)
{
	(void)signal_number;
	handled_at_ms = now_ms();
}

/* Reads the line SigBlk from the status of a command. popen(3) does not do, because some shells clear their mask. */
static void mask_of_command(char line[64])
{
	int ends[2];
	ssize_t length;
	pid_t child;

	if (pipe(ends) != 0) {
		give_up();
	}
	child = fork();
	if (child == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execlp("grep", "grep", "SigBlk:", "/proc/self/status", (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	length = read(ends[0], line, 63);
	close(ends[0]);
	waitpid(child, NULL, 0);
	line[length < 0 ? 0 : length] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

/* Formats the mask of the calling thread as /proc/PID/status does. */
static void own_mask(char line[64])
{
	sigset_t mask;
	unsigned long long bits = 0;
	int number;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (number = 1; number <= SIGRTMAX; number++) {
		if (sigismember(&mask, number) == 1) {
			bits |= 1ULL << (number - 1);
		}
	}
	sprintf(line, "SigBlk:\t%016llx", bits);
}

static int check(void)
{
	char line[64];

	if (calls == 0) {
		own_mask(line);
		observe("the callback: %s", strcmp(line, registered) == 0 ? "as registered" : line);
		mask_of_command(line);
		observe("its command: %s", strcmp(line, registered) == 0 ? "as registered" : line);
	} else if (calls == 1) {
		/* Half an interval is long enough for a machine that stops the program for two seconds. */
		observe("a handler ran %s", handled_at_ms == 0                     ? "never"
				    : now_ms() - handled_at_ms > INTERVAL_MS / 2 ? "between two callbacks"
									: "with the callback");
	}
	calls++;
	return 0;
}

static void set_mask(int how, int first, int second)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, first);
	sigaddset(&mask, second);
	pthread_sigmask(how, &mask, NULL);
}

int main(void)
{
	unsigned int instance;
	int i;

	/* Replace the signal mask that the tests were started with. */
	set_mask(SIG_SETMASK, SIGUSR1, SIGHUP);
	on_signal(SIGUSR2, handler);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	own_mask(registered);
	MUST(sam_hc_callback_register(check));
	set_mask(SIG_SETMASK, SIGUSR2, SIGWINCH);
	MUST(sam_start());
	for (i = 0; i < 2000 && calls == 0; i++) {
		sleep_ms(10);
	}
	/* Now only the callback thread can receive the signal, and only while the callback's mask is in force. */
	kill(getpid(), SIGUSR2);
	for (i = 0; i < 2000 && calls == 1; i++) {
		sleep_ms(10);
	}
	MUST(sam_stop());
	return 0;
}
