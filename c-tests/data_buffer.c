/* sam_data_restore writes the data and not one byte more, and writes nothing if the data does not fit. */
#include "observe.h"

static void restore(size_t size)
{
	char buffer[9] = "--------";
	cs_error_t code = sam_data_restore(buffer, size);

	observe("restore into %d bytes: %d, %s", (int)size, (int)code, buffer);
}

int main(void)
{
	unsigned int instance;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
	restore(8);
	MUST(sam_data_store("four", 4));
	restore(8);
	restore(4);
	restore(3);
	restore(0);
	MUST(sam_register(&instance));
	restore(8);
	restore(4);
	restore(3);
	restore(0);
	MUST(sam_data_store("five!", 5));
	restore(8);
	restore(4);
	MUST(sam_data_store("", 0));
	restore(8);
	restore(0);
	return 0;
}
