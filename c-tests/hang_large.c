/* A program with much memory is warned, recovers, is warned again and killed. Prints how many children its supervisor
 * has meanwhile: the instance, and a spare after a warning. */
#include "observe.h"

#define INTERVAL_MS 4000
#define MEMORY (512UL << 20)

static volatile sig_atomic_t warnings;

static void warned(int signal_number)
{
	(void)signal_number;
	warnings++;
}

/* Returns the number of children of the supervisor. */
static int children(void)
{
	char path[64], list[4096];
	int count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)getppid(), (int)getppid());
	file = fopen(path, "r");
	if (file == NULL) {
		leave_out("cannot read the list of children in /proc");
	}
	if (fgets(list, sizeof(list), file) != NULL) {
		for (const char *c = list; *c != '\0'; c++) {
			count += *c == ' ';
		}
	}
	fclose(file);
	return count;
}

/* The supervisor makes a spare only if a fork takes long, and is yet over long before the kill. */
static void check_fork(void)
{
	long began = now_ms(), took;
	pid_t child = fork();

	if (child == 0) {
		_exit(0);
	}
	took = now_ms() - began;
	waitpid(child, NULL, 0);
	if (took < 4 || took > INTERVAL_MS / 16) {
		observe("left out: a fork of this program takes %ld ms", took);
		_exit(77);
	}
}

static void await_children(int count)
{
	while (children() != count) {
		sleep_ms(5);
	}
	observe("children: %d", count);
}

static void await_warning(int count)
{
	while (warnings < count) {
		sleep_ms(5);
	}
	observe("warned");
}

int main(void)
{
	unsigned int instance;
	char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		leave_out("cannot have much memory");
	}
	/* With huge pages a fork would be fast. */
	madvise(memory, MEMORY, MADV_NOHUGEPAGE);
	memset(memory, 1, MEMORY);
	check_fork();
	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	MUST(sam_start());
	if (instance == 1) {
		await_children(1);
		await_warning(1);
		await_children(2);
		/* The supervisor notices a heartbeat when it looks, at the end of the interval. */
		while (children() != 1) {
			MUST(sam_hc_send());
			sleep_ms(5);
		}
		await_children(1);
		await_warning(2);
		await_children(2);
		hang();
	}
	await_children(1);
	MUST(sam_stop());
	return 0;
}
