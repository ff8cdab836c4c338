/* Computes under a seccomp filter that allows only memory, output, heartbeats and exit; then hangs. */
#include "observe.h"

#include <endian.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define INTERVAL_MS 1200
#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* The call behind mmap(3): 32-bit architectures have a second one, for offsets in pages. */
#ifdef SYS_mmap2
#define MMAP SYS_mmap2
#else
#define MMAP SYS_mmap
#endif
/* Arguments have 64 bits in struct seccomp_data, and a filter reads 32 bits at a time. */
#define LOW_HALF (__BYTE_ORDER == __BIG_ENDIAN ? 4 : 0)

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

/* Uses the processor without a system call. */
static void compute(long ms)
{
	volatile double sum = 0;
	long until_ms = now_ms() + ms;

	while (now_ms() < until_ms) {
		sum += 1 / (1 + sum);
	}
}

int main(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_brk),
		ALLOW(MMAP),
		ALLOW(SYS_munmap),
		ALLOW(SYS_rt_sigreturn),
		ALLOW(SYS_exit_group),
		/* Allow writing to standard output only. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]) + LOW_HALF),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, STDOUT_FILENO, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
	unsigned int instance;
	int i;

	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 0;
	}
	MUST(sam_start());
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
		leave_out("cannot install a seccomp filter");
	}
	for (i = 0; i < 40; i++) {
		MUST(sam_hc_send());
		compute(INTERVAL_MS / 10);
	}
	observe("alive after four intervals");
	compute(20000);
	observe("the supervisor did not end the hang");
	give_up();
	return 0;
}
