/* Measures one memcpy to shared memory, the lower bound for a store: ns per copy.
 * usage: copy BYTES COPIES */
#include "bench.h"

int main(int argc, char **argv)
{
	size_t size = argument(argc, argv, 1);
	unsigned long copies = argument(argc, argv, 2);
	char *data = malloc(size);
	char *kept[2] = {shared(size), shared(size)};

	MUST(data != NULL);
	memset(data, 1, size);
	for (unsigned long copy = 0; copy < copies; copy++) {
		uint64_t began = now();

		memcpy(kept[copy % 2], data, size);
		/* Keep the compiler from removing the copy, which the program never reads. */
		__asm__ volatile("" : : "r"(kept[copy % 2]) : "memory");
		print((double)(now() - began));
	}
	return 0;
}
