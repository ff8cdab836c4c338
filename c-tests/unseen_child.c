/*
 * Calls sam_initialize() with quorum while one thread waits for children, of which the program has none, and other
 * threads allocate memory. Prints the codes, the number of children seen, and the number of SIGCHLD received:
 *
 *   <CLOCK_MONOTONIC in ms> <pid> <what> <number>
 *
 * Environment variables: CALLS is the number of calls (default 1). SUBREAPER makes the program a subreaper. REGISTER
 * makes it call sam_register() with cmap afterwards, without other threads.
 */
#include <corosync/sam.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t signals;
static volatile int children, stop;

static void say(const char *what, int number)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("%lld %ld %s %d\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, (long)getpid(), what, number);
	fflush(stdout);
}

static void child_signal(int number)
{
	(void)number;
	signals++;
}

static void *wait_for_children(void *unused)
{
	while (!stop) {
		int status = 0;
		/* Also without WNOHANG, waitpid(2) must return at once, because there is no child. */
		pid_t found = waitpid(-1, &status, 0);
		if (found != -1 || errno != ECHILD)
			children++;
		found = waitpid(-1, &status, WNOHANG);
		if (found != -1 || errno != ECHILD)
			children++;
	}
	return unused;
}

static void *use_memory(void *unused)
{
	while (!stop) {
		void *memory = malloc(70000);
		memset(memory, 1, 100);
		free(memory);
	}
	return unused;
}

int main(void)
{
	pthread_t threads[3];
	struct sigaction action;
	const char *count = getenv("CALLS");
	int i, calls = count ? atoi(count) : 1, does_register = getenv("REGISTER") != NULL;
	int policy = does_register ? SAM_RECOVERY_POLICY_RESTART | SAM_RECOVERY_POLICY_CMAP
				   : SAM_RECOVERY_POLICY_QUORUM_RESTART;
	struct timespec moment = {0, 20000000};

	if (getenv("SUBREAPER"))
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	memset(&action, 0, sizeof action);
	action.sa_handler = child_signal;
	action.sa_flags = SA_RESTART;
	sigaction(SIGCHLD, &action, NULL);
	for (i = 0; i < 3 && !does_register; i++)
		if (pthread_create(&threads[i], NULL, i == 0 ? wait_for_children : use_memory, NULL) != 0)
			return 99;
	for (i = 0; i < calls; i++)
		say("initialize", (int)sam_initialize(1000, (sam_recovery_policy_t)policy));
	if (does_register) {
		say("register", (int)sam_register(NULL));
		if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
			children++;
	}
	/* Wait for signals and children that arrive late. */
	nanosleep(&moment, NULL);
	stop = 1;
	for (i = 0; i < 3 && !does_register; i++)
		pthread_join(threads[i], NULL);
	say("signals", signals);
	say("children", children);
	return 0;
}
