/* An instance forks a helper: helper WHAT
 * outlives: the helper makes no call, and outlives the instance, which exits with 0
 * calls: the helper outlives a crash of the instance, and makes calls then
 * beats: the helper sends the heartbeats while the instance is silent */
#include "observe.h"

#include <fcntl.h>

#define INTERVAL_MS 1500
/* The time in s after which SIGALRM ends a process that a failed test has left behind. */
#define LONGEST_S 60

static struct {
	pid_t helper;
	int instances;
} *common;

static void wait_for_instance(int number)
{
	while (common->instances < number) {
		sleep_ms(10);
	}
}

static void help(const char *what)
{
	alarm(LONGEST_S);
	if (strcmp(what, "outlives") == 0) {
		for (;;) {
			pause();
		}
	}
	if (strcmp(what, "calls") == 0) {
		wait_for_instance(2);
		observe("the helper's sam_hc_send: %d", (int)sam_hc_send());
		observe("the helper's sam_stop: %d", (int)sam_stop());
		common->helper = 0;
		_exit(0);
	}
	for (;;) {
		if (sam_hc_send() != CS_OK) {
			_exit(0);
		}
		sleep_ms(INTERVAL_MS / 8);
	}
}

int main(int argc, char **argv)
{
	pid_t supervisor = getpid();
	unsigned int instance;
	pid_t helper;

	if (argc != 2) {
		return 2;
	}
	common = shared_memory(sizeof(*common));
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	if (instance == 2) {
		observe("instance 2, %s", getppid() == supervisor ? "supervised" : "orphaned");
		common->instances = 2;
		if (strcmp(argv[1], "calls") == 0) {
			while (common->helper != 0) {
				sleep_ms(10);
			}
		} else {
			observe("helper: %s", kill(common->helper, SIGKILL) == 0 ? "alive" : "gone");
		}
		return 0;
	}
	observe("instance %u", instance);
	MUST(sam_start());
	helper = fork();
	if (helper == -1) {
		leave_out("fork");
	}
	if (helper == 0) {
		help(argv[1]);
	}
	common->helper = helper;
	if (strcmp(argv[1], "outlives") == 0) {
		_exit(0);
	}
	if (strcmp(argv[1], "calls") == 0) {
		raise(SIGKILL);
	}
	sleep_ms(4 * INTERVAL_MS);
	observe("alive after four intervals");
	kill(helper, SIGKILL);
	waitpid(helper, NULL, 0);
	MUST(sam_stop());
	return 0;
}
