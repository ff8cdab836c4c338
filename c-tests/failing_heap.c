/* Memory runs out. Each call succeeds or returns a code that says so, and the program survives 100 crashes and a hang.
 * usage: failing_heap heap ALLOCATIONS: the functions of malloc(3) fail after this many calls
 *        failing_heap space KIB: the process may grow by this many KiB (RLIMIT_AS, getrlimit(2)) */
#include "observe.h"

#include <limits.h>
#include <sys/resource.h>

#define INTERVAL_MS 300
#define LAST 101
#define HANGS 50

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static long left = -1; /* the number of allocations before they fail; -1: no limit */

static int fails(void)
{
	if (left < 0) {
		return 0;
	}
	if (left > 0) {
		left--;
		return 0;
	}
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
	return fails() ? NULL : __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size)
{
	return fails() ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
	*block = memalign(alignment, size);
	return *block == NULL ? ENOMEM : 0;
}

static void limit_space(unsigned long kib)
{
	struct rlimit limit;
	unsigned long pages;
	FILE *file = fopen("/proc/self/statm", "r");

	if (file == NULL || fscanf(file, "%lu", &pages) != 1) {
		leave_out("the size of a process is not to be had");
	}
	fclose(file);
	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = (rlim_t)(pages * (unsigned long)sysconf(_SC_PAGESIZE)) + kib * 1024;
	setrlimit(RLIMIT_AS, &limit);
}

/* Returns 1 if the call succeeded, 0 if it lacked memory. */
static int done(cs_error_t code, const char *call)
{
	if (code == CS_OK) {
		return 1;
	}
	if (code != CS_ERR_NO_MEMORY && code != CS_ERR_LIBRARY) {
		observe("%s: %d", call, (int)code);
		give_up();
	}
	return 0;
}

#define DONE(call) done((call), #call)

static int healthy(void)
{
	return 0;
}

int main(int argc, char **argv)
{
	static char data[100000];
	unsigned int instance;
	size_t size;

	if (argc != 3) {
		return 2;
	}
	signal(SIGRTMIN, SIG_IGN);
	if (strcmp(argv[1], "heap") == 0) {
		left = atol(argv[2]);
	} else {
		limit_space(strtoul(argv[2], NULL, 10));
	}
	if (!DONE(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART))) {
		say("sam_initialize is refused\n");
		return 0;
	}
	DONE(sam_data_store(data, 10));
	DONE(sam_data_store(data, sizeof(data)));
	if (!DONE(sam_register(&instance))) {
		say("sam_register is refused\n");
		return 0;
	}
	MUST(sam_warn_signal_set(SIGUSR1));
	DONE(sam_data_store(data, 1 + instance * 900));
	DONE(sam_data_store(data, SSIZE_MAX - 1));
	DONE(sam_data_getsize(&size));
	DONE(sam_data_restore(data, sizeof(data)));
	if (instance % 2 == 0 && DONE(sam_hc_callback_register(healthy))) {
		MUST(sam_hc_callback_register(NULL));
	}
	MUST(sam_start());
	MUST(sam_hc_send());
	if (instance == HANGS) {
		hang();
	}
	if (instance % 10 == 0) {
		/* The supervisor holds some of these signals for the next instance. */
		for (int count = 0; count < 1500; count++) {
			sigqueue(getppid(), SIGRTMIN, (union sigval){count});
		}
	}
	if (instance < LAST) {
		raise(SIGKILL);
	}
	MUST(sam_stop());
	say("instance 101\n");
	return 0;
}
