/* The service of a classic supervisor, which runs it as ./run: stays for longer than the second within which such
 * supervisors hold a restart back, crashes, and notes how long it took until it ran again, in ns. */
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
	/* The longest part of writing it down comes before the time is taken. */
	setvbuf(last, NULL, _IONBF, 0);
	fprintf(last, "%" PRIu64 "\n", now());
	kill(getpid(), SIGKILL);
	return 1;
}
