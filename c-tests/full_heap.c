/* Fills the heap before sam_register, so that neither program nor supervisor can allocate from it. Then instances
 * crash, hang and stop. */
#include "observe.h"

#include <sys/resource.h>

#define INTERVAL_MS 1500

/* Limits the address space to 64 KiB more than now, less than the heap grows by, and allocates all of the heap. */
static void fill_heap(void)
{
	struct rlimit limit;
	unsigned long pages;
	void *volatile block;
	size_t size;
	FILE *file = fopen("/proc/self/statm", "r");

	if (file == NULL || fscanf(file, "%lu", &pages) != 1) {
		leave_out("cannot read the size of the process");
	}
	fclose(file);
	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = (rlim_t)(pages * (unsigned long)sysconf(_SC_PAGESIZE)) + (1 << 16);
	setrlimit(RLIMIT_AS, &limit);
	for (size = 1 << 16; size > 0; size /= 2) {
		/* Without `block`, a compiler may leave out the allocation. */
		while ((block = malloc(size)) != NULL) {
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
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
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
