/* The service that a classic supervisor runs as ./run. It stays up for longer than 1 s, because such supervisors delay
 * a restart that comes earlier. Then it crashes. The next run appends the time from the crash to its own start, in ns.
 * */
#include "bench.h"

int main(void)
{
	uint64_t started = now(), died = 0;
	FILE *last = fopen("died", "r");

	if (last != NULL) {
		FILE *samples = fopen("samples", "a");

		MUST(samples != NULL && fscanf(last, "%" SCNu64, &died) == 1);
		fprintf(samples, "%" PRIu64 "\n", started - died);
		fclose(samples);
		fclose(last);
	}
	sleep_ns(1100 * MS);
	last = fopen("died", "w");
	MUST(last != NULL);
	/* Open the file and turn off buffering first, so that the time is written as late as possible. */
	setvbuf(last, NULL, _IONBF, 0);
	fprintf(last, "%" PRIu64 "\n", now());
	kill(getpid(), SIGKILL);
	return 1;
}
