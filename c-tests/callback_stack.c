/* A callback uses a megabyte of its stack. */
#include "observe.h"

static volatile sig_atomic_t called;

static int check(void)
{
	volatile char stack[1 << 20];
	size_t i;

	for (i = 0; i < sizeof(stack); i += 1024) {
		stack[i] = 1;
	}
	called = 1;
	return 0;
}

int main(void)
{
	unsigned int instance;

	MUST(sam_initialize(2000, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 1;
	}
	MUST(sam_hc_callback_register(check));
	MUST(sam_start());
	while (!called) {
		sleep_ms(10);
	}
	observe("called");
	MUST(sam_stop());
	return 0;
}
