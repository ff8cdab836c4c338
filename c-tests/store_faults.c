/* The data is in pages that a SIGSEGV handler makes accessible on the first access. The handler also stores data.
 * Faults in the application's memory inside sam_data_store and sam_data_restore must reach the handler. */
#include "observe.h"

#define SMALL ((size_t)3 << 12)
#define LARGE ((size_t)1 << 20)

static char *memory;
static size_t page;
static volatile sig_atomic_t faults;

static void handler(int signal_number, siginfo_t *info, void *context)
{
	char *at = (char *)((size_t)info->si_addr & ~(page - 1));

	(void)signal_number;
	(void)context;
	if (at < memory || at >= memory + LARGE || mprotect(at, page, PROT_READ | PROT_WRITE) != 0) {
		_exit(95);
	}
	if (faults++ == 1) {
		MUST(sam_data_store("from the handler", 17));
	}
}

static void protect(void)
{
	faults = 0;
	if (mprotect(memory, LARGE, PROT_NONE) != 0) {
		_exit(96);
	}
}

static void store_and_restore(size_t size)
{
	size_t found, i;

	memset(memory, 0, LARGE);
	memset(memory, (int)(size >> 12), size);
	protect();
	MUST(sam_data_store(memory, size));
	observe("%d pages stored, %s", (int)(size >> 12),
		faults == (int)(size / page) ? "each after a fault" : "not each after a fault");
	memset(memory, 0, size);
	MUST(sam_data_getsize(&found));
	protect();
	faults = 2; /* The handler does not store from here on. */
	MUST(sam_data_restore(memory, size));
	for (i = 0; i < size && memory[i] == (char)(size >> 12); i++) {
	}
	observe("%s", found == size && i == size ? "restored whole" : "damaged");
}

int main(void)
{
	struct sigaction action;
	unsigned int instance;

	page = (size_t)sysconf(_SC_PAGESIZE);
	memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		return 2;
	}
	if (page != 4096) {
		leave_out("the page size is not 4096 bytes");
	}
	memset(&action, 0, sizeof(action));
	action.sa_sigaction = handler;
	action.sa_flags = SA_SIGINFO;
	sigaction(SIGSEGV, &action, NULL);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_start());
	store_and_restore(SMALL);
	store_and_restore(LARGE);
	MUST(sam_finalize());
	return 0;
}
