/* Measures heartbeats that follow each other at once: ns per call, one sample per block of calls.
 * usage: heartbeat_flood BLOCKS CALLS_PER_BLOCK */
#include "bench.h"

int main(int argc, char **argv)
{
	unsigned long blocks = argument(argc, argv, 1);
	unsigned long calls = argument(argc, argv, 2);

	start_supervised(10000);
	for (unsigned long block = 0; block < blocks; block++) {
		uint64_t began = now();

		for (unsigned long call = 0; call < calls; call++) {
			MUST(sam_hc_send() == CS_OK);
		}
		print((double)(now() - began) / (double)calls);
	}
	end_supervised();
}
