/* Measures the supervisor's processor time while heartbeats arrive at a steady rate. The interval is 1 s.
 * usage: heartbeat_rate PER_SECOND SECONDS cost|load
 * cost: ns per 1000 heartbeats; load: ns per second. */
#include "bench.h"

int main(int argc, char **argv)
{
	unsigned long rate = argument(argc, argv, 1);
	unsigned long duration = argument(argc, argv, 2) * SECOND;
	int cost = argc > 3 && strcmp(argv[3], "cost") == 0;
	uint64_t pause = SECOND / rate;
	uint64_t began, used, took;
	unsigned long beats = 0;

	start_supervised(1000);
	/* Exclude the cost of sam_start. */
	sleep_ns(20 * MS);

	used = cpu_of(getppid());
	began = now();
	for (uint64_t due = began; due < began + duration; due += pause) {
		if (pause >= 50000) {
			sleep_until(due);
		} else {
			spin_until(due);
			if (now() >= began + duration) {
				break; /* the library cannot keep up */
			}
		}
		MUST(sam_hc_send() == CS_OK);
		beats++;
	}
	sleep_until(began + duration);
	took = now() - began;
	used = cpu_of(getppid()) - used;
	print(cost ? (double)used * 1000.0 / (double)beats : (double)used * (double)SECOND / (double)took);
	end_supervised();
}
