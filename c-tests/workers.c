/* A program initializes a session, stores data, and forks workers that register. Each worker has its own data. */
#include "observe.h"

#define WORKERS 2

static struct {
	int forked, stored[WORKERS];
	char at_fork[WORKERS][32], first[WORKERS][32], second[WORKERS][32];
} *common;

static void wait_until(volatile int *flag)
{
	long until_ms = now_ms() + 20000;

	while (!*flag) {
		if (now_ms() > until_ms) {
			observe("a process waited for 20 s");
			_exit(1);
		}
		sleep_ms(1);
	}
}

static void restore(char found[32])
{
	memset(found, 0, 32);
	MUST(sam_data_restore(found, 32));
}

static int work(int number)
{
	unsigned int instance;
	char data[32];
	int i;

	wait_until(&common->forked);
	restore(common->at_fork[number]);
	sprintf(data, "draft of worker %d", number);
	MUST(sam_data_store(data, strlen(data) + 1));
	MUST(sam_register(&instance));
	if (instance == 2) {
		restore(common->second[number]);
		return 0;
	}
	restore(common->first[number]);
	MUST(sam_start());
	sprintf(data, "data of worker %d", number);
	MUST(sam_data_store(data, strlen(data) + 1));
	common->stored[number] = 1;
	for (i = 0; i < WORKERS; i++) {
		wait_until(&common->stored[i]);
	}
	raise(SIGKILL);
	return 98;
}

int main(void)
{
	pid_t workers[WORKERS];
	char found[32];
	int i, status;

	common = shared_memory(sizeof(*common));
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_data_store("data at the fork", 17));
	for (i = 0; i < WORKERS; i++) {
		workers[i] = fork();
		if (workers[i] == 0) {
			return work(i);
		}
	}
	MUST(sam_data_store("data of the parent", 19));
	common->forked = 1;
	for (i = 0; i < WORKERS; i++) {
		if (waitpid(workers[i], &status, 0) != workers[i] || status != 0) {
			observe("worker %d ended with %x", i, status);
		}
		observe("worker %d: %s, %s, %s", i, common->at_fork[i], common->first[i], common->second[i]);
	}
	restore(found);
	observe("parent: %s", found);
	return 0;
}
