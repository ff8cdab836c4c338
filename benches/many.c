/* Measures many supervised programs, each with a callback: ns of processor time per second, of all supervisors and
 * instances together.
 * usage: many PROGRAMS INTERVAL_MS SECONDS */
#include "bench.h"

struct program {
	pid_t supervisor;
	volatile pid_t instance;
};

static int healthy(void)
{
	return 0;
}

static void run(struct program *program, int interval_ms)
{
	MUST(sam_initialize(interval_ms, SAM_RECOVERY_POLICY_RESTART) == CS_OK);
	MUST(sam_register(NULL) == CS_OK);
	MUST(sam_hc_callback_register(healthy) == CS_OK);
	MUST(sam_start() == CS_OK);
	program->instance = getpid();
	for (;;) {
		pause();
	}
}

static uint64_t cpu_of_all(const struct program *programs, unsigned long count)
{
	uint64_t sum = 0;

	for (unsigned long i = 0; i < count; i++) {
		sum += cpu_of(programs[i].supervisor) + cpu_of(programs[i].instance);
	}
	return sum;
}

int main(int argc, char **argv)
{
	unsigned long count = argument(argc, argv, 1);
	int interval_ms = (int)argument(argc, argv, 2);
	unsigned long duration = argument(argc, argv, 3) * SECOND;
	struct program *programs = shared(count * sizeof(*programs));
	uint64_t began, used, took;

	for (unsigned long i = 0; i < count; i++) {
		pid_t child = fork();

		MUST(child >= 0);
		if (child == 0) {
			run(&programs[i], interval_ms);
		}
		programs[i].supervisor = child;
		/* Start the next program when this one runs, so that their checks are spread over the interval. */
		while (programs[i].instance == 0) {
			sleep_ns(100000);
		}
	}
	sleep_ns(SECOND / 2);

	used = cpu_of_all(programs, count);
	began = now();
	sleep_ns(duration);
	used = cpu_of_all(programs, count) - used;
	took = now() - began;
	print((double)used * (double)SECOND / (double)took);

	for (unsigned long i = 0; i < count; i++) {
		kill(programs[i].supervisor, SIGKILL);
		kill(programs[i].instance, SIGKILL);
	}
	return 0;
}
