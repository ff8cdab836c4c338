/* Signal handlers on a small alternate stack store data of growing size, restore it and forget it. There is a
 * page without access below the stack. Prints how many bytes of the stack the calls use. */
#include "observe.h"

#include <stdint.h>

#define PAINT 0x5a

static char large[3 << 20];
static size_t length;
static unsigned char *stack;
static size_t stack_size;
static size_t most;
static volatile sig_atomic_t step;

/* Returns how many bytes below `here` were written to. */
static size_t depth_below(const unsigned char *here)
{
	const unsigned char *at = stack;

	while (at < here && *at == PAINT) {
		at++;
	}
	return (size_t)(here - at);
}

static void handler(int signal_number)
{
	unsigned char here = 0;
	cs_error_t code = CS_OK;
	size_t size, depth;

	(void)signal_number;
	switch (step) {
	case 0:
		code = sam_data_store(large, length);
		break;
	case 1:
		code = sam_data_getsize(&size);
		break;
	case 2:
		code = sam_data_restore(large, sizeof(large));
		break;
	case 3:
		code = sam_data_store(NULL, 0);
		break;
	case 4:
		code = sam_hc_send();
		break;
	case 5:
		code = sam_stop();
		break;
	case 6:
		code = sam_start();
		break;
	default:
		code = sam_warn_signal_set(SIGUSR1);
	}
	depth = depth_below(&here);
	if (depth > most) {
		most = depth;
	}
	if (code != CS_OK) {
		observe("step %d: %d", (int)step, (int)code);
		give_up();
	}
}

static void all_steps(int from)
{
	for (step = from; step < 8; step++) {
		memset(stack, PAINT, stack_size);
		raise(SIGUSR2);
	}
}

int main(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = 8192, needed;
	long least = sysconf(_SC_MINSIGSTKSZ);
	unsigned int instance;
	struct sigaction action;
	unsigned char *mapping;
	stack_t alternate;
	size_t size;

	/* The kernel's signal frame may be large. The rest is the stack that a program would give its own handler. */
	needed = (least > 0 ? (size_t)least : 0) + 4096;
	if (room < needed) {
		room = needed;
	}
	stack_size = (room + page - 1) / page * page;
	mapping = mmap(NULL, page + stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mapping == MAP_FAILED || mprotect(mapping, page, PROT_NONE) != 0) {
		return 2;
	}
	stack = mapping + page;
	memset(&alternate, 0, sizeof(alternate));
	alternate.ss_sp = stack;
	alternate.ss_size = stack_size;
	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	action.sa_flags = SA_ONSTACK;
	if (sigaltstack(&alternate, NULL) != 0 || sigaction(SIGUSR2, &action, NULL) != 0) {
		return 2;
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	/* Call each function once, because the loader resolves it at its first call, on the stack of the caller. */
	MUST(sam_data_store("data", 5));
	MUST(sam_data_getsize(&size));
	MUST(sam_data_restore(large, sizeof(large)));
	MUST(sam_warn_signal_set(0));
	MUST(sam_register(&instance));
	if (instance > 2) {
		observe("a handler overflowed its stack");
		return 1;
	}
	MUST(sam_start());
	MUST(sam_hc_send());
	MUST(sam_stop());
	MUST(sam_start());
	if (instance == 1) {
		for (length = 1; length < sizeof(large); length *= 3) {
			all_steps(0);
		}
		length = sizeof(large);
		step = 0;
		raise(SIGUSR2);
		raise(SIGKILL);
	}
	/* Instance 2 has not mapped the data of instance 1 yet. Restore it in a handler. */
	all_steps(1);
	length = sizeof(large);
	all_steps(0);
	observe("# stack %lu", (unsigned long)most);
	observe(most < 2048 ? "little stack" : "too much stack");
	MUST(sam_stop());
	return 0;
}
