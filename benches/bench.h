/* Functions shared by the programs in this folder. Each program measures one thing with the libsam that the loader
 * finds, and prints its samples, one number per line. */
#ifndef BENCH_H
#define BENCH_H

#include <corosync/sam.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000ULL
#define SECOND 1000000000ULL

/* Ends the program with a message unless a condition holds. */
#define MUST(what) must((what), #what, __LINE__)
static inline void must(int holds, const char *what, int line)
{
	if (!holds) {
		fprintf(stderr, "line %d: failed: %s (%s)\n", line, what, strerror(errno));
		_exit(1);
	}
}

/* Returns CLOCK_MONOTONIC in ns. */
static inline uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* Sleeps until a time of `now`. */
static inline void sleep_until(uint64_t due)
{
	struct timespec time = {(time_t)(due / SECOND), (long)(due % SECOND)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {
	}
}

static inline void sleep_ns(uint64_t duration)
{
	sleep_until(now() + duration);
}

/* Uses the processor until a time of `now`. */
static inline void spin_until(uint64_t due)
{
	while (now() < due) {
	}
}

/* Returns the processor time in ns that all threads of a process have used. */
static inline uint64_t cpu_of(pid_t process)
{
	clockid_t clock;
	struct timespec time;

	MUST(clock_getcpuclockid(process, &clock) == 0);
	MUST(clock_gettime(clock, &time) == 0);
	return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* Returns memory that all instances share. */
static inline void *shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	MUST(memory != MAP_FAILED);
	return memory;
}

/* Returns an argument of the program as a number. */
static inline unsigned long argument(int argc, char **argv, int number)
{
	if (argc <= number) {
		fprintf(stderr, "%s: argument %d is missing\n", argv[0], number);
		exit(2);
	}
	return strtoul(argv[number], NULL, 10);
}

static inline void print(double sample)
{
	printf("%.3f\n", sample);
}

/* Makes the caller a started instance. Returns the instance id. */
static inline unsigned int start_supervised(int interval_ms)
{
	unsigned int id = 0;

	MUST(sam_initialize(interval_ms, SAM_RECOVERY_POLICY_RESTART) == CS_OK);
	MUST(sam_register(&id) == CS_OK);
	MUST(sam_start() == CS_OK);
	return id;
}

/* Ends instance and supervisor. Called when all samples have been printed. */
static inline void end_supervised(void)
{
	MUST(sam_stop() == CS_OK);
	exit(0);
}

#endif
