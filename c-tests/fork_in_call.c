/* One thread makes a call without pause while the main thread forks. Each child makes calls too: in the child, the
 * library holds no lock for the thread that the child does not have. */
#include "observe.h"

#include <pthread.h>

#define FORKS 500
#define LARGE (512 << 10)

static volatile int end;

static void *store(void *data)
{
	size_t size = 1;

	while (!end) {
		size = size * 5 % LARGE + 1;
		MUST(sam_data_store(data, size));
	}
	return NULL;
}

static void *set_signal(void *unused)
{
	while (!end) {
		MUST(sam_warn_signal_set(SIGTERM));
	}
	return unused;
}

static void child(void)
{
	static char data[LARGE];
	size_t size;

	alarm(20);
	if (sam_warn_signal_set(SIGTERM) != CS_OK || sam_data_getsize(&size) != CS_OK ||
	    sam_data_restore(data, sizeof(data)) != CS_OK || sam_data_store(data, 10) != CS_OK ||
	    sam_data_store(data, sizeof(data)) != CS_OK) {
		_exit(1);
	}
	_exit(0);
}

/* Forks while another thread is in `call`. Prints whether all calls returned in all children. */
static void fork_during(const char *name, void *(*call)(void *))
{
	static char data[LARGE];
	pthread_t thread;
	int i, status, good = 0;

	end = 0;
	if (pthread_create(&thread, NULL, call, data) != 0) {
		give_up();
	}
	for (i = 0; i < FORKS && good == i; i++) {
		pid_t process = fork();

		if (process == 0) {
			child();
		}
		if (process < 0 || waitpid(process, &status, 0) != process) {
			give_up();
		}
		good += status == 0;
	}
	end = 1;
	pthread_join(thread, NULL);
	observe("%s: %s", name, good == FORKS ? "no child blocks" : "a call in a child blocked or failed");
}

int main(void)
{
	unsigned int instance;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
	fork_during("store before sam_register", store);
	fork_during("warning signal before sam_register", set_signal);
	MUST(sam_register(&instance));
	fork_during("store", store);
	fork_during("warning signal", set_signal);
	MUST(sam_finalize());
	return 0;
}
