/* A daemon as a service manager runs it: sends heartbeats, stops on SIGTERM with the exit status of its argument, and is
 * warned by SIGUSR1. SIGUSR2 makes it hang. `service CODE at-once`: exits with CODE as soon as it has started.
 * `service CODE INTERVAL_MS`: another interval than a second. */
#include "observe.h"

static volatile sig_atomic_t terms, hangs;

static void on_term(int number)
{
	(void)number;
	say("got SIGTERM\n");
	terms++;
}

static void on_abort(int number)
{
	(void)number;
	say("got SIGABRT\n");
}

static void on_hang(int number)
{
	(void)number;
	hangs = 1;
}

int main(int argc, char **argv)
{
	int code = argc > 1 ? atoi(argv[1]) : 0;
	int at_once = argc > 2 && strcmp(argv[2], "at-once") == 0;
	int interval_ms = argc > 2 && !at_once ? atoi(argv[2]) : 1000;
	unsigned int instance;

	on_signal(SIGTERM, on_term);
	on_signal(SIGABRT, on_abort);
	on_signal(SIGUSR2, on_hang);
	MUST(sam_initialize(interval_ms, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_warn_signal_set(SIGUSR1));
	MUST(sam_register(&instance));
	MUST(sam_start());
	observe("instance %u runs", instance);
	if (at_once) {
		return code;
	}
	while (terms == 0) {
		if (!hangs) {
			MUST(sam_hc_send());
		}
		sleep_ms(50);
	}
	sleep_ms(300); /* time for a second SIGTERM */
	observe("SIGTERMs: %d", (int)terms);
	MUST(sam_stop());
	return code;
}
