/* Measures a heartbeat while the supervisor sleeps: ns per call, one call every 100 us, less the time of a clock
 * reading.
 * usage: heartbeat_asleep CALLS */
#include "bench.h"

int main(int argc, char **argv)
{
	unsigned long calls = argument(argc, argv, 1);

	start_supervised(10000);
	for (unsigned long call = 0; call < calls; call++) {
		uint64_t began, sent, clock_read;

		spin_until(now() + 100000);
		began = now();
		MUST(sam_hc_send() == CS_OK);
		sent = now();
		clock_read = now();
		print((double)(sent - began) - (double)(clock_read - sent));
	}
	end_supervised();
}
