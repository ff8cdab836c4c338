/* Measures sam_data_store: ns per call.
 * usage: data_store BYTES CALLS */
#include "bench.h"

int main(int argc, char **argv)
{
	size_t size = argument(argc, argv, 1);
	unsigned long calls = argument(argc, argv, 2);
	char *data = malloc(size);

	MUST(data != NULL);
	memset(data, 1, size);
	start_supervised(0);
	for (unsigned long call = 0; call < calls; call++) {
		uint64_t began = now();

		MUST(sam_data_store(data, size) == CS_OK);
		print((double)(now() - began));
	}
	end_supervised();
}
