/* Measures the time from a crash to the next instance, for programs that differ in their supervisor.
 * Their first arguments: RESTARTS PAUSE_MS MIB
 * PAUSE_MS: the lifetime of an instance; MIB: the memory in use before the first fork. */
#ifndef RESTARTS_H
#define RESTARTS_H

#include "bench.h"

/* The measurement, which all instances share. */
struct restarts {
	unsigned long wanted;
	uint64_t pause;
	/* Kept, or the compiler leaves out what fills it. */
	char *memory;
	uint64_t died;
	unsigned long count;
	uint64_t took[10000];
};

/* Reads the arguments, and uses the memory that they ask for. */
static inline struct restarts *restarts_begin(int argc, char **argv)
{
	struct restarts *restarts = shared(sizeof(*restarts));
	size_t memory = argument(argc, argv, 3) << 20;

	restarts->memory = malloc(memory + 1);
	restarts->wanted = argument(argc, argv, 1);
	restarts->pause = argument(argc, argv, 2) * MS;
	MUST(restarts->memory != NULL && restarts->wanted <= sizeof(restarts->took) / sizeof(*restarts->took));
	memset(restarts->memory, 1, memory + 1);
	return restarts;
}

/* Notes that an instance began at `back`. Returns 1, and prints all samples, after the last restart. */
static inline int restarts_note(struct restarts *restarts, uint64_t back)
{
	if (restarts->died != 0) {
		restarts->took[restarts->count++] = back - restarts->died;
	}
	if (restarts->count < restarts->wanted) {
		return 0;
	}
	for (unsigned long i = 0; i < restarts->count; i++) {
		print((double)restarts->took[i]);
	}
	return 1;
}

/* Crashes the instance at the end of its lifetime. */
static inline void restarts_crash(struct restarts *restarts)
{
	sleep_ns(restarts->pause);
	restarts->died = now();
	kill(getpid(), SIGKILL);
}

#endif
