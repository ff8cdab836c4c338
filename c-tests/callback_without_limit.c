/* A callback without an interval to call it in: callback_without_limit INTERVAL. */
#include "observe.h"

static int check(void)
{
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
	return 0;
}
