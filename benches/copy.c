/* The least that a store can cost: one memcpy to memory that other processes see, ns per copy.
 * usage: copy BYTES COPIES */
#include "bench.h"

int main(int argc, char **argv)
{
	size_t size = argument(argc, argv, 1);
	unsigned long copies = argument(argc, argv, 2);
	char *data = malloc(size);
	char *kept[2] = { shared(size), shared(size) };

	MUST(data != NULL);
	memset(data, 1, size);
	for (unsigned long copy = 0; copy < copies; copy++) {
		uint64_t began = now();

		memcpy(kept[copy % 2], data, size);
		/* The compiler does not know that nobody looks. */
		__asm__ volatile("" : : "r"(kept[copy % 2]) : "memory");
		print((double)(now() - began));
	}
	return 0;
}
