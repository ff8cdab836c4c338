/* Measures how late the warning is: ns from the end of the interval until the instance has received the signal.
 * usage: warning INTERVAL_MS WARNINGS
 * Each sample is taken in a new instance, because libsam4 warns an instance only once. */
#include "bench.h"

struct record {
	unsigned long warnings;
	double late[10000];
};

int main(int argc, char **argv)
{
	unsigned long interval_ms = argument(argc, argv, 1);
	unsigned long warnings = argument(argc, argv, 2);
	struct record *record = shared(sizeof(*record));
	uint64_t last_word;
	sigset_t warning, pending;

	MUST(warnings <= sizeof(record->late) / sizeof(*record->late));
	sigemptyset(&warning);
	sigaddset(&warning, SIGUSR1);

	MUST(sam_initialize((int)interval_ms, SAM_RECOVERY_POLICY_RESTART) == CS_OK);
	MUST(sam_warn_signal_set(SIGUSR1) == CS_OK);
	MUST(sam_register(NULL) == CS_OK);
	sigprocmask(SIG_BLOCK, &warning, NULL);
	MUST(sam_start() == CS_OK);
	if (record->warnings == warnings) {
		for (unsigned long i = 0; i < warnings; i++) {
			print(record->late[i]);
		}
		end_supervised();
	}
	/* Keep the heartbeats from being in step with the supervisor's wake-ups. */
	sleep_ns(interval_ms * MS / 10 * (record->warnings % 5));
	last_word = now();
	MUST(sam_hc_send() == CS_OK);
	sigpending(&pending);
	/* On a busy machine the warning may have come during the sleep. Then it is not for the measured silence. */
	if (!sigismember(&pending, SIGUSR1)) {
		MUST(sigwaitinfo(&warning, NULL) == SIGUSR1);
		record->late[record->warnings++] = (double)now() - (double)(last_word + interval_ms * MS);
	}
	kill(getpid(), SIGKILL);
	return 1;
}
