/* Calls every function of the library in a callback: callback_calls [INTERVAL], for slow machines. */
#include "observe.h"

static volatile sig_atomic_t finished;

static int check(void)
{
	char data[8] = "";
	unsigned int instance;
	size_t size = 0;

	observe("sam_initialize: %d", (int)sam_initialize(100, SAM_RECOVERY_POLICY_QUIT));
	observe("sam_register: %d", (int)sam_register(&instance));
	observe("sam_start: %d", (int)sam_start());
	observe("sam_hc_send: %d", (int)sam_hc_send());
	observe("sam_warn_signal_set: %d", (int)sam_warn_signal_set(SIGUSR1));
	observe("sam_data_store: %d", (int)sam_data_store("inside", 7));
	observe("sam_data_getsize: %d", (int)sam_data_getsize(&size));
	observe("sam_data_restore: %d", (int)sam_data_restore(data, sizeof(data)));
	observe("%d bytes, %s", (int)size, data);
	observe("sam_mark_failed: %d", (int)sam_mark_failed());
	observe("sam_hc_callback_register: %d", (int)sam_hc_callback_register(NULL));
	observe("sam_stop: %d", (int)sam_stop());
	observe("sam_hc_callback_register: %d", (int)sam_hc_callback_register(check));
	observe("sam_finalize: %d", (int)sam_finalize());
	finished = 1;
	return 0;
}

int main(int argc, char **argv)
{
	int interval_ms = argc > 1 ? atoi(argv[1]) : 2000;
	unsigned int instance;

	MUST(sam_initialize(interval_ms, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	MUST(sam_hc_callback_register(check));
	MUST(sam_start());
	while (!finished) {
		sleep_ms(1);
	}
	sleep_ms(3 * interval_ms);
	observe("instance %u: alive, not called again", instance);
	return 6;
}
