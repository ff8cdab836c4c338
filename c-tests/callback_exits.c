/* A callback ends its own thread: callback_exits exit|cancel. The instance falls silent, as in a hang. */
#include "observe.h"

#include <pthread.h>

static int cancel;

static void cleanup(void *unused)
{
	(void)unused;
	say("cleanup\n");
}

static int check(void)
{
	pthread_cleanup_push(cleanup, NULL);
	if (cancel) {
		pthread_cancel(pthread_self());
		pthread_testcancel();
	} else {
		pthread_exit(NULL);
	}
	pthread_cleanup_pop(0);
	return 0;
}

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(int argc, char **argv)
{
	unsigned int instance;

	if (argc != 2) {
		return 2;
	}
	cancel = strcmp(argv[1], "cancel") == 0;
	on_signal(SIGTERM, warned);
	MUST(sam_initialize(2000, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 0;
	}
	MUST(sam_hc_callback_register(check));
	MUST(sam_start());
	hang();
	return 0;
}
