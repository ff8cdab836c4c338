/* Measures the memory in bytes that only the supervisor uses while its third instance runs.
 * usage: memory */
#include "bench.h"

int main(void)
{
	unsigned int id = start_supervised(50);
	char path[64], line[256];
	unsigned long kib;
	FILE *rollup;

	if (id < 3) {
		kill(getpid(), SIGKILL);
	}
	for (int i = 0; i < 20; i++) {
		sleep_ns(10 * MS);
		MUST(sam_hc_send() == CS_OK);
	}
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)getppid());
	rollup = fopen(path, "r");
	MUST(rollup != NULL);
	while (fgets(line, sizeof(line), rollup) != NULL) {
		if (sscanf(line, "Private_Dirty: %lu kB", &kib) == 1) {
			print((double)kib * 1024.0);
		}
	}
	fclose(rollup);
	end_supervised();
}
