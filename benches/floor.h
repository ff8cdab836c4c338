/* The least that a supervisor can do: fork an instance, wait for its end with a pidfd, reap it, and fork the next. It is
 * the lower bound for the cost of a restart on a machine. */
#ifndef FLOOR_H
#define FLOOR_H

#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* The number of the spare that may go on. Shared by all processes. */
struct floor_release {
	int number;
};

/* Forks a process. Returns 0 in the new process, in a spare once its number is released. */
static inline pid_t floor_fork(struct floor_release *release, int number)
{
	pid_t child = fork();

	if (child < 0) {
		abort();
	}
	if (child == 0 && release != NULL) {
		/* Only here, because the dynamic linker looks for the function at the first call. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			int released = __atomic_load_n(&release->number, __ATOMIC_ACQUIRE);

			if (released >= number) {
				break;
			}
			syscall(SYS_futex, &release->number, FUTEX_WAIT, released, NULL, NULL, 0);
		}
	}
	return child;
}

/* Makes the caller a supervisor. Returns in each instance, with its number, which begins at 1. The supervisor ends when
 * an instance exits. With `has_spare` the next instance is forked in advance and waits. */
static inline int floor_register(int has_spare)
{
	struct floor_release *release = NULL;
	pid_t instance, spare = 0;
	int number = 1;

	if (has_spare) {
		release = mmap(NULL, sizeof(*release), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (release == MAP_FAILED) {
			abort();
		}
		__atomic_store_n(&release->number, number, __ATOMIC_RELEASE);
	}
	instance = floor_fork(release, number);
	for (;;) {
		struct pollfd end = {.events = POLLIN};
		int status;

		if (instance == 0) {
			return number;
		}
		if (has_spare) {
			spare = floor_fork(release, number + 1);
			if (spare == 0) {
				return number + 1;
			}
		}
		end.fd = (int)syscall(SYS_pidfd_open, instance, 0);
		if (end.fd < 0 || poll(&end, 1, -1) != 1 || waitpid(instance, &status, 0) != instance) {
			abort();
		}
		if (WIFEXITED(status)) {
			if (has_spare) {
				kill(spare, SIGKILL);
			}
			_exit(WEXITSTATUS(status));
		}
		number++;
		if (has_spare) {
			__atomic_store_n(&release->number, number, __ATOMIC_RELEASE);
			syscall(SYS_futex, &release->number, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
			instance = spare;
		} else {
			instance = floor_fork(NULL, number);
		}
		if (instance != 0) {
			close(end.fd);
		}
	}
}

#endif
