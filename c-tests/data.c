/* Instances read the data that earlier instances stored, also data stored before sam_register. */
#include "observe.h"

static void show(unsigned int instance)
{
	char data[32];
	size_t size = 77;

	memset(data, 0, sizeof(data));
	MUST(sam_data_getsize(&size));
	MUST(sam_data_restore(data, sizeof(data)));
	observe("instance %u: %d bytes, \"%s\"", instance, (int)size, data);
}

int main(void)
{
	unsigned int instance = 0;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	show(instance);
	MUST(sam_data_store("draft", 6));
	MUST(sam_data_store("before", 7));
	show(instance);
	MUST(sam_register(&instance));
	show(instance);
	switch (instance) {
	case 1:
		MUST(sam_start());
		return 1;
	case 2:
		MUST(sam_data_store("by the second instance", 23));
		show(instance);
		MUST(sam_start());
		raise(SIGKILL);
		return 98;
	case 3:
		MUST(sam_start());
		MUST(sam_data_store("short", 6));
		MUST(sam_data_store("while started", 14));
		return 1;
	case 4:
		MUST(sam_data_store(NULL, 5));
		show(instance);
		MUST(sam_start());
		return 1;
	case 5:
		MUST(sam_data_store("x", 1));
		MUST(sam_data_store("x", 0));
		MUST(sam_start());
		return 1;
	default:
		return 0;
	}
}
