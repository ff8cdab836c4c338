/* Measures the time from a crash to the return of sam_register in the next instance: ns per restart.
 * usage: restart RESTARTS PAUSE_MS MIB
 * PAUSE_MS: the lifetime of an instance; MIB: the memory in use before sam_register. */
#include "bench.h"

struct record {
	uint64_t died;
	unsigned long restarts;
	uint64_t took[10000];
};

int main(int argc, char **argv)
{
	unsigned long restarts = argument(argc, argv, 1);
	unsigned long pause = argument(argc, argv, 2) * MS;
	size_t memory = argument(argc, argv, 3) << 20;
	struct record *record = shared(sizeof(*record));
	char *used = malloc(memory + 1);
	uint64_t back;

	MUST(used != NULL && restarts <= sizeof(record->took) / sizeof(*record->took));
	memset(used, 1, memory + 1);

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART) == CS_OK);
	MUST(sam_register(NULL) == CS_OK);
	back = now();
	MUST(sam_start() == CS_OK);
	if (record->died != 0) {
		record->took[record->restarts++] = back - record->died;
	}
	if (record->restarts == restarts) {
		for (unsigned long i = 0; i < restarts; i++) {
			print((double)record->took[i]);
		}
		end_supervised();
	}
	sleep_ns(pause);
	record->died = now();
	kill(getpid(), SIGKILL);
	return 1;
}
