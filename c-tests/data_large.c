/* Large data survives restarts, and the data may grow and shrink. */
#include "observe.h"

#define LARGE ((size_t)8 << 20)

static unsigned char byte_at(size_t i)
{
	return (unsigned char)(i * 31 + i / 251);
}

int main(void)
{
	unsigned int instance;
	static unsigned char data[LARGE];
	size_t i, size;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	if (instance == 1) {
		for (i = 0; i < LARGE; i++) {
			data[i] = byte_at(i);
		}
		MUST(sam_data_store("small", 6));
		MUST(sam_data_store(data, LARGE));
		MUST(sam_start());
		return 1;
	}
	MUST(sam_data_getsize(&size));
	MUST(sam_data_restore(data, LARGE));
	if (instance == 2) {
		for (i = 0; i < LARGE && data[i] == byte_at(i); i++) {
		}
		observe("%d MiB, %s", (int)(size >> 20), i == LARGE ? "intact" : "damaged");
		MUST(sam_data_store("small", 6));
		MUST(sam_start());
		return 1;
	}
	observe("%d bytes, %s", (int)size, (char *)data);
	return 0;
}
