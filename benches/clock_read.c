/* Measures a reading of the clock, the lower bound for a time stamp: ns per reading, one sample per block of readings.
 * usage: clock_read BLOCKS READINGS_PER_BLOCK */
#include "bench.h"

int main(int argc, char **argv)
{
	unsigned long blocks = argument(argc, argv, 1);
	unsigned long readings = argument(argc, argv, 2);

	for (unsigned long block = 0; block < blocks; block++) {
		uint64_t began = now();

		for (unsigned long reading = 0; reading < readings; reading++) {
			now();
		}
		print((double)(now() - began) / (double)readings);
	}
	return 0;
}
