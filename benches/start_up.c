/* Measures the start and the end of a program: ns from before the spawn until its exit status has been read.
 * usage: start_up RUNS PROGRAM */
#include "bench.h"

#include <spawn.h>

extern char **environ;

int main(int argc, char **argv)
{
	unsigned long runs = argument(argc, argv, 1);

	argument(argc, argv, 2);
	for (unsigned long run = 0; run < runs; run++) {
		uint64_t began = now();
		pid_t program;
		int status;

		MUST(posix_spawn(&program, argv[2], NULL, NULL, argv + 2, environ) == 0);
		MUST(waitpid(program, &status, 0) == program && status == 0);
		print((double)(now() - began));
	}
	return 0;
}
