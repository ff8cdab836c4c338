/* A root supervisor, and an instance as user nobody that forges the control page: it claims that a process of another
 * user continues in its place, and exits with 0. The supervisor must not signal that process. */
#include "observe.h"

#include <inttypes.h>
#include <stdint.h>
#include <sys/prctl.h>

#define INTERVAL_MS 1000
#define NOBODY 65534
/* The index of the word Claimant, see src/shared/control_page/view.rs. */
#define CLAIMANT 16

/* Stays until its parent ends, and prints the signals that it receives. */
static void stand_by(void)
{
	struct timespec pause = {0, 50000000};
	pid_t parent = getppid();
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent) {
		int number = sigtimedwait(&all, NULL, &pause);

		if (number > 0) {
			observe("signal %d for a bystander", number);
		}
	}
	_exit(0);
}

/* Stores a pid as the claimant on all shared pages. */
static void name_on_all_pages(uint64_t pid)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		uintptr_t from, to;
		char access[5];

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to, access) == 3 &&
		    strcmp(access, "rw-s") == 0 && (strstr(line, "/dev/zero") || strstr(line, "/memfd:"))) {
			((uint64_t *)from)[CLAIMANT] = pid;
		}
	}
	if (maps != NULL) {
		fclose(maps);
	}
}

/* Finds the children of the supervisor other than this process. */
static int others(pid_t supervisor, pid_t *found, int room)
{
	char path[64];
	FILE *file;
	int count = 0;
	long pid;

	snprintf(path, sizeof(path), "/proc/%ld/task/%ld/children", (long)supervisor, (long)supervisor);
	file = fopen(path, "r");
	while (file != NULL && count < room && fscanf(file, "%ld", &pid) == 1) {
		if (pid != getpid()) {
			found[count++] = (pid_t)pid;
		}
	}
	if (file != NULL) {
		fclose(file);
	}
	return count;
}

int main(void)
{
	pid_t supervisor = getpid();
	pid_t found[8];
	unsigned int instance;
	long until_ms = now_ms() + 20000;
	int count, expected = getenv("SAM_STANDBY") != NULL && strcmp(getenv("SAM_STANDBY"), "1") == 0 ? 2 : 1;

	if (getuid() != 0) {
		observe("left out: not root");
		return 77;
	}
	switch (fork()) {
	case -1:
		return 97;
	case 0:
		stand_by();
	}
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	while ((count = others(supervisor, found, 8)) < expected && now_ms() < until_ms) {
		sleep_ms(10);
	}
	if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0) {
		leave_out("cannot drop root's privileges");
	}
	MUST(sam_start());
	switch (instance) {
	case 1:
		name_on_all_pages((uint64_t)found[0]);
		_exit(0);
	case 2:
		name_on_all_pages((uint64_t)found[count - 1]);
		_exit(0);
	case 3:
		name_on_all_pages((uint64_t)supervisor);
		_exit(0);
	case 4:
		name_on_all_pages(1);
		_exit(0);
	case 5:
		name_on_all_pages(UINT64_MAX);
		_exit(0);
	case 6:
		name_on_all_pages((uint64_t)1 << 32 | (uint64_t)found[0]);
		_exit(0);
	}
	MUST(sam_stop());
	sleep_ms(5 * INTERVAL_MS / 2);
	return 0;
}
