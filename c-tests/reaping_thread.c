/* Threads from before sam_register reap every child of the supervisor while instances crash: reaping_thread
 * [descriptors]. With an argument, the supervisor can open no descriptor after the first crash. */
#include "observe.h"

#include <pthread.h>
#include <sys/resource.h>

enum { THREADS = 4, CRASHES = 10 };

static volatile int *done;

static void *reap(void *unused)
{
	(void)unused;
	while (!*done) {
		if (waitpid(-1, NULL, 0) < 0) {
			sleep_ms(1);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pid_t supervisor = fork(), program = supervisor;
	unsigned int instance;
	pthread_t thread;
	int i, status;

	if (program > 0) {
		/* The status is 255 if a thread has also reaped the last instance. */
		waitpid(program, &status, 0);
		return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 255) ? 0 : 1;
	}
	supervisor = getpid();
	done = shared_memory(sizeof(*done));
	for (i = 0; i < THREADS; i++) {
		pthread_create(&thread, NULL, reap, NULL);
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	MUST(sam_start());
	if (instance <= CRASHES) {
		struct rlimit none = {3, 3};

		if (argc > 1 && instance == 1 && prlimit(supervisor, RLIMIT_NOFILE, &none, NULL) != 0) {
			leave_out("cannot set a limit");
		}
		(void)argv;
		sleep_ms(20); /* until the supervisor waits for the end of the instance */
		raise(SIGSEGV);
	}
	observe("the supervisor is %s", processor_ms(supervisor) < 5000 ? "idle" : "busy");
	*done = 1;
	MUST(sam_stop());
	return 0;
}
