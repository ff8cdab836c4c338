/* Measures the least time from a crash to the next instance: as restart.c does, but with a supervisor that only forks,
 * waits and reaps. It is the lower bound for any library.
 * usage: floor RESTARTS PAUSE_MS MIB none|spare
 * PAUSE_MS: the lifetime of an instance; MIB: the memory in use. */
#include "bench.h"
#include "floor.h"

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
	int has_spare = argc > 4 && strcmp(argv[4], "spare") == 0;
	struct record *record = shared(sizeof(*record));
	char *used = malloc(memory + 1);
	uint64_t back;

	MUST(used != NULL && restarts <= sizeof(record->took) / sizeof(*record->took));
	memset(used, 1, memory + 1);

	floor_register(has_spare);
	back = now();
	if (record->died != 0) {
		record->took[record->restarts++] = back - record->died;
	}
	if (record->restarts == restarts) {
		for (unsigned long i = 0; i < restarts; i++) {
			print((double)record->took[i]);
		}
		exit(0);
	}
	sleep_ns(pause);
	record->died = now();
	kill(getpid(), SIGKILL);
	return 1;
}
