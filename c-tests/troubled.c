/* Each instance gets into the trouble that the command line names for it, the last one into the last again:
 * troubled INTERVAL TROUBLE.., with TROUBLE exit=CODE, signal=NUMBER, run=MS (then exit 1), hang, recover (a
 * silence that ends after the warning, then stop) or stop. */
#include "observe.h"

static volatile sig_atomic_t warned;

static void on_warning(int number)
{
	(void)number;
	warned = 1;
}

static int value(const char *trouble)
{
	return atoi(strchr(trouble, '=') + 1);
}

int main(int argc, char **argv)
{
	const char *trouble;
	unsigned int instance;
	int i, interval;

	if (argc < 3) {
		return 2;
	}
	interval = atoi(argv[1]);
	on_signal(SIGTERM, on_warning);
	MUST(sam_initialize(interval, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	MUST(sam_start());
	observe("# pid of %u %ld", instance, (long)getpid());
	trouble = argv[(int)instance + 1 < argc ? (int)instance + 1 : argc - 1];
	if (strncmp(trouble, "exit=", 5) == 0) {
		_exit(value(trouble));
	}
	if (strncmp(trouble, "signal=", 7) == 0) {
		raise(value(trouble));
	}
	if (strncmp(trouble, "run=", 4) == 0) {
		sleep_ms(value(trouble));
		_exit(1);
	}
	while (strcmp(trouble, "hang") == 0) {
		pause();
	}
	if (strcmp(trouble, "recover") == 0) {
		while (!warned) {
			sleep_ms(1);
		}
		/* Long enough for the supervisor to notice, which looks once per interval. */
		for (i = 0; i < 40; i++) {
			MUST(sam_hc_send());
			sleep_ms(interval / 20);
		}
	}
	MUST(sam_stop());
	return 0;
}
