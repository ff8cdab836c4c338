/* Measures restarts per second of a program that crashes at once, one sample per block of restarts.
 * usage: crash_loop BLOCKS RESTARTS_PER_BLOCK */
#include "bench.h"

struct record {
	uint64_t block_began;
	unsigned long blocks;
	double rates[1000];
};

int main(int argc, char **argv)
{
	unsigned long blocks = argument(argc, argv, 1);
	unsigned long restarts = argument(argc, argv, 2);
	struct record *record = shared(sizeof(*record));
	unsigned int id;

	MUST(blocks <= sizeof(record->rates) / sizeof(*record->rates));
	id = start_supervised(0);
	if (id % restarts == 1) {
		uint64_t time = now();

		if (record->block_began != 0) {
			record->rates[record->blocks++] =
				(double)restarts * (double)SECOND / (double)(time - record->block_began);
		}
		if (record->blocks == blocks) {
			for (unsigned long i = 0; i < blocks; i++) {
				print(record->rates[i]);
			}
			end_supervised();
		}
		record->block_began = now();
	}
	kill(getpid(), SIGKILL);
	return 1;
}
