/* How late the warning is: ns from the end of the interval to the moment at which the instance has the signal.
 * usage: warning INTERVAL_MS WARNINGS
 * Each by an instance of its own: libsam4 warns an instance once. */
#include "bench.h"

struct record {
	unsigned long warnings;
	double late[10000];
};

int main(int argc, char **argv)
{
	unsigned long interval = argument(argc, argv, 1);
	unsigned long warnings = argument(argc, argv, 2);
	struct record *record = shared(sizeof(*record));
	uint64_t last_word;
	sigset_t warning, pending;

	MUST(warnings <= sizeof(record->late) / sizeof(*record->late));
	sigemptyset(&warning);
	sigaddset(&warning, SIGUSR1);

	MUST(sam_initialize((int)interval, SAM_RECOVERY_POLICY_RESTART) == CS_OK);
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
	/* Not in step with the supervisor's own clock. */
	sleep_ns(interval * MS / 10 * (record->warnings % 5));
	last_word = now();
	MUST(sam_hc_send() == CS_OK);
	sigpending(&pending);
	/* On a machine so busy that it came while we slept, it is not this silence that was noticed. */
	if (!sigismember(&pending, SIGUSR1)) {
		MUST(sigwaitinfo(&warning, NULL) == SIGUSR1);
		record->late[record->warnings++] = (double)now() - (double)(last_word + interval * MS);
	}
	kill(getpid(), SIGKILL);
	return 1;
}
