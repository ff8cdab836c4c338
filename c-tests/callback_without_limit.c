/* Registers a callback with an interval that sets no deadline: callback_without_limit INTERVAL. */
#include "observe.h"

static volatile sig_atomic_t calls;

static int check(void)
{
	calls++;
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int instance;

	if (argc != 2) {
		return 2;
	}
	MUST(sam_initialize(atoi(argv[1]), SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	observe("sam_hc_callback_register: %d", (int)sam_hc_callback_register(check));
	MUST(sam_start());
	sleep_ms(500);
	observe(calls == 0 ? "not called" : "called");
	MUST(sam_finalize());
	return 0;
}
