/* The program has filled its heap when it registers: neither it nor its supervisor gets a byte of it. Then instances
 * crash, hang, and cannot be made for a while. */
#include "observe.h"

#include <sys/resource.h>

#define INTERVAL 300

/* The system gives 64 KiB more to who asks for a mapping, but less than the heap grows by. */
static void fill_heap(void)
{
	struct rlimit limit;
	unsigned long pages;
	size_t size;
	FILE *file = fopen("/proc/self/statm", "r");

	if (file == NULL || fscanf(file, "%lu", &pages) != 1) {
		leave_out("the size of a process is not to be had");
	}
	fclose(file);
	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = (rlim_t)(pages * (unsigned long)sysconf(_SC_PAGESIZE)) + (1 << 16);
	setrlimit(RLIMIT_AS, &limit);
	for (size = 1 << 16; size > 0; size /= 2) {
		while (malloc(size) != NULL) {
		}
	}
}

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(void)
{
	unsigned int instance;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART));
	fill_heap();
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	MUST(sam_start());
	switch (instance) {
	case 1:
		raise(SIGKILL);
		break;
	case 2:
		hang();
		break;
	default:
		MUST(sam_stop());
	}
	return 0;
}
