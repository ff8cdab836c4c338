/* A root supervisor, with instances as user nobody that do harm for some time. Then one of them falls silent, and the
 * next instance checks what it finds:
 * hostile words SEED MS: the instances write garbage to all shared memory at random moments
 * hostile signals SEED MS: they flood the supervisor with signals and children */
#include "observe.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define INTERVAL_MS 100
#define PAGES 8
#define NOBODY 65534

/* Memory shared by all processes of the test. */
static struct {
	long until_ms;
	volatile int hung, told; /* an instance hangs; the bystander has printed that */
} *common;

/* Returns a random number (xorshift). */
static uint64_t random_state;

static uint64_t any(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Returns a word that may mean something on a page: a small number, a time, a time with flags, or anything. */
static uint64_t any_word(void)
{
	uint64_t some = any();

	switch (any() % 6) {
	case 0:
		return some % 70;
	case 1:
		return now_ns() + some % 300000000;
	case 2:
		return (now_ns() + some % 300000000 - 150000000) << 2 | some % 4;
	case 3:
		return UINT64_MAX - some % 4;
	default:
		return some;
	}
}

/* A mapping shared with the supervisor. */
struct shared {
	uint64_t *start;
	size_t words;
};

/* Finds the mappings shared with the supervisor. */
static int find_shared(struct shared *found)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	int count = 0;

	while (maps != NULL && count < PAGES && fgets(line, sizeof(line), maps) != NULL) {
		uintptr_t from, to;
		char access[5];

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to, access) == 3 &&
		    strcmp(access, "rw-s") == 0 && from != (uintptr_t)common &&
		    (strstr(line, "/dev/zero") || strstr(line, "/memfd:"))) {
			found[count].start = (uint64_t *)from;
			found[count++].words = (to - from) / sizeof(uint64_t);
		}
	}
	if (maps != NULL) {
		fclose(maps);
	}
	return count;
}

/* Changes the memory files shared with the supervisor: size, holes, seals, content. */
static void spoil_files(void)
{
	char path[64], target[128];
	int fd;

	for (fd = 3; fd < 64; fd++) {
		ssize_t length;

		sprintf(path, "/proc/self/fd/%d", fd);
		length = readlink(path, target, sizeof(target) - 1);
		if (length <= 0 || memcmp(target, "/memfd:", 7) != 0) {
			continue;
		}
		switch (any() % 4) {
		case 0:
			(void)!ftruncate(fd, (off_t)(any() >> (1 + any() % 62)));
			break;
		case 1:
			(void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(any() % 8192), 8192);
			break;
		case 2:
			(void)fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_WRITE);
			break;
		default:
			(void)!write(fd, "rubbish", 7);
		}
	}
}

/* Makes a random call. */
static void call_something(void)
{
	static char data[10000];
	size_t size;

	switch (any() % 8) {
	case 0:
		sam_stop();
		break;
	case 1:
		sam_data_store(data, any() % sizeof(data));
		break;
	case 2:
		sam_data_getsize(&size);
		break;
	case 3:
		sam_data_restore(data, sizeof(data));
		break;
	case 4:
		sam_warn_signal_set((int)(any() % 70));
		break;
	case 5:
		sam_hc_send();
		break;
	default:
		sam_start();
	}
}

/* Writes garbage to shared memory until the time is over. */
static void write_rubbish(void)
{
	struct shared shared[PAGES];

	while (now_ms() < common->until_ms) {
		struct timespec pause = {0, (long)(any() % 3000000)};
		uint64_t left = any() % 60;
		int count = find_shared(shared);

		for (; left > 0; left--) {
			const struct shared *target = &shared[any() % (uint64_t)count];

			/* Most words with a meaning are among the first 16. */
			target->start[any() % (any() % 4 == 0 ? target->words : 16)] = any_word();
		}
		if (any() % 4 == 0) {
			call_something();
		}
		if (any() % 16 == 0) {
			spoil_files();
		}
		nanosleep(&pause, NULL);
	}
}

/* Repeats some work in a process that ends with its parent. */
static void in_background(void (*work)(pid_t supervisor), pid_t supervisor)
{
	pid_t parent = getpid();

	switch (fork()) {
	case -1:
		observe("fork failed");
		give_up();
		break;
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == parent) {
			work(supervisor);
		}
		_exit(0);
	}
}

/* Sends SIGCONT, which any process may send to the others of its session. */
static void send_signals(pid_t supervisor)
{
	if (kill(supervisor, SIGCONT) != 0) {
		observe("SIGCONT: %s", strerror(errno));
		_exit(1);
	}
}

/* Makes a child of the supervisor that ends at once. */
static void give_child(void)
{
	const long flags = CLONE_PARENT | SIGCHLD;

#ifdef __s390__
	/* The stack comes before the flags there (clone(2)). */
	if (syscall(SYS_clone, 0, flags, 0, 0, 0) == 0) {
#else
	if (syscall(SYS_clone, flags, 0, 0, 0, 0) == 0) {
#endif
		_exit(0);
	}
}

static void stop_and_continue(pid_t supervisor)
{
	pid_t parent = getppid();

	kill(parent, SIGSTOP);
	kill(parent, SIGCONT);
	(void)supervisor;
}

/* Runs as another process of the group, which the supervisor must not signal. Prints that an instance hangs, because the
 * supervisor may kill the instance at any moment, and in the end how much processor time the supervisor has used. */
static void stand_by(pid_t supervisor)
{
	struct timespec pause = {0, 50000000};
	long ms, used = 0;
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	while (getppid() == supervisor && (ms = processor_ms(supervisor)) >= 0) {
		int number = sigtimedwait(&all, NULL, &pause);

		used = ms;
		if (common->hung && !common->told) {
			observe("hangs");
			common->told = 1;
		}
		if (number > 0) {
			observe("signal %d for a bystander", number);
		}
	}
	observe("# processor %ld", used);
	_exit(0);
}

int main(int argc, char **argv)
{
	struct shared before[PAGES];
	static uint64_t stopped[PAGES][512], started[PAGES][512];
	pid_t supervisor = getpid();
	unsigned int instance;
	int count, i, number;
	static char data[5000];

	if (argc != 4) {
		return 2;
	}
	common = shared_memory(sizeof(*common));
	common->until_ms = now_ms() + atol(argv[3]);
	random_state = strtoull(argv[2], NULL, 10) * 2654435761u + 1;
	switch (fork()) {
	case -1:
		return 97;
	case 0:
		stand_by(supervisor);
	}
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_data_store(data, sizeof(data)));
	MUST(sam_register(&instance));
	if (common->hung) {
		long told_until_ms = now_ms() + 20000;
		size_t size = 0;
		char *room;

		while (!common->told && now_ms() < told_until_ms) {
			sleep_ms(1);
		}
		observe("instance after the hang");
		/* The codes may be anything, because the data may be garbage. */
		observe("# sam_data_getsize %d", (int)sam_data_getsize(&size));
		room = size < (1 << 24) ? malloc(size + 1) : NULL;
		if (room != NULL) {
			observe("# sam_data_restore %d", (int)sam_data_restore(room, size));
		}
		MUST(sam_data_store("new", 4));
		MUST(sam_data_restore(data, sizeof(data)));
		observe("%s data", data);
		return 0;
	}
	if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0) {
		observe("not root");
		give_up();
	}
	if (kill(supervisor, 0) == 0) {
		observe("user nobody may signal root");
		give_up();
	}
	/* The warning may be any signal, so ignore them all. */
	for (number = 1; number < NSIG; number++) {
		on_signal(number, SIG_IGN);
	}
	random_state += instance;
	any();
	count = find_shared(before);
	for (i = 0; i < count; i++) {
		memcpy(stopped[i], before[i].start, 4096);
	}
	MUST(sam_start());
	for (i = 0; i < count; i++) {
		memcpy(started[i], before[i].start, 4096);
	}
	if (strcmp(argv[1], "words") == 0) {
		write_rubbish();
		/* Restore the control page as it was after sam_start, long ago. Leave the other memory as it is. */
		for (i = 0; i < count; i++) {
			if (memcmp(stopped[i], started[i], 4096) != 0) {
				memcpy(before[i].start, started[i], 4096);
			}
		}
	} else {
		in_background(send_signals, supervisor);
		in_background(send_signals, supervisor);
		in_background(stop_and_continue, supervisor);
		while (now_ms() < common->until_ms) {
			sam_hc_send();
			give_child();
		}
	}
	common->hung = 1;
	while (strcmp(argv[1], "signals") == 0) {
		give_child();
	}
	hang();
	return 1;
}
