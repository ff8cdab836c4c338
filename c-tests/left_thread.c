/* A thread started before sam_register stays in the supervisor, and makes calls there. */
#include "observe.h"

#include <pthread.h>

#define CALLS 11

struct told {
	volatile int go;
	volatile int done;
	int codes[CALLS];
};

static struct told *told;
static const char *names[CALLS] = {
    "sam_data_getsize", "sam_data_restore", "sam_data_store", "sam_warn_signal_set", "sam_hc_send", "sam_start",
    "sam_stop", "sam_mark_failed", "sam_hc_callback_register", "sam_register", "sam_initialize"};

static int healthy(void)
{
	return 0;
}

static void *call_all(void *unused)
{
	char data[8];
	size_t size;
	unsigned int instance;
	int *code = told->codes;

	(void)unused;
	while (!told->go) {
		sleep_ms(1);
	}
	*code++ = (int)sam_data_getsize(&size);
	*code++ = (int)sam_data_restore(data, sizeof(data));
	*code++ = (int)sam_data_store("data", 5);
	*code++ = (int)sam_warn_signal_set(SIGUSR1);
	*code++ = (int)sam_hc_send();
	*code++ = (int)sam_start();
	*code++ = (int)sam_stop();
	*code++ = (int)sam_mark_failed();
	*code++ = (int)sam_hc_callback_register(healthy);
	*code++ = (int)sam_register(&instance);
	*code++ = (int)sam_initialize(0, SAM_RECOVERY_POLICY_QUIT);
	told->done = 1;
	return NULL;
}

int main(void)
{
	pthread_t thread;
	unsigned int instance;
	int i;

	told = shared_memory(sizeof(*told));
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_data_store("kept", 5));
	if (pthread_create(&thread, NULL, call_all, NULL) != 0) {
		return 2;
	}
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		char data[8] = "";

		MUST(sam_data_restore(data, sizeof(data)));
		observe("data: %s", data);
		return 0;
	}
	told->go = 1;
	for (i = 0; i < 1000 && !told->done; i++) {
		sleep_ms(10);
	}
	for (i = 0; i < CALLS; i++) {
		if (told->codes[i] == 0) {
			observe("%s did not return", names[i]);
			give_up();
		}
		if (told->codes[i] != CS_ERR_BAD_HANDLE) {
			observe("%s: %d", names[i], told->codes[i]);
		}
	}
	observe("all calls refused");
	MUST(sam_start());
	raise(SIGKILL);
	return 0;
}
