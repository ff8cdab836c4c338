/* A root supervisor, and an instance as user nobody that looks for pages of the supervisor which it was not given:
 * beyond the end of its mappings (mremap(2), remap_file_pages(2)), through /proc, and through descriptors.
 * reach_pages forge: writes to them what sam-status shows, until the test ends it
 * reach_pages revive: a process that outlives the first instance sends the heartbeats of the second, which hangs
 * reach_pages release: releases the warm spare beside the first instance */
#include "observe.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>

#define NOBODY 65534
#define INTERVAL_MS 1500
#define MOST 256
#define FILE_PAGES 256

/* Memory shared by all processes of the test. */
static struct {
	int over;
	pid_t first;
} *common;

static size_t page_size;

/* The pages of the supervisor that were reached. */
static volatile char *reached[MOST];
static int count;

static int wake_pipe[2];

/* Returns true if a page exists. The kernel reads it, and answers with an error where this process would get SIGBUS. */
static int is_there(const volatile char *page)
{
	char byte;

	return write(wake_pipe[1], (const void *)page, 1) == 1 && read(wake_pipe[0], &byte, 1) == 1;
}

static void add(volatile char *page, const char *way)
{
	if (count < MOST && is_there(page)) {
		observe("# reached a page by %s", way);
		reached[count++] = page;
	}
}

/* Adds all pages of the file behind a mapping, except those mapped by it. */
static void look_beyond(char *start, size_t length, size_t offset)
{
	size_t own = offset / page_size, pages = length / page_size, i;
	/* With an old size of 0, mremap(2) makes a second mapping of the same pages, of any size. */
	char *more = mremap(start, 0, page_size * FILE_PAGES, MREMAP_MAYMOVE);

	if (more == MAP_FAILED) {
		observe("# mremap: %s", strerror(errno));
		return;
	}
	for (i = pages; i < FILE_PAGES; i++) {
		add(more + i * page_size, "mremap");
	}
	for (i = 0; i < FILE_PAGES; i++) {
		char *target = mremap(start, 0, page_size, MREMAP_MAYMOVE);

		if (i >= own && i < own + pages) {
			continue;
		}
		if (target == MAP_FAILED || remap_file_pages(target, page_size, 0, i, 0) != 0) {
			observe("# remap_file_pages: %s", strerror(errno));
			return;
		}
		if (is_there(target)) {
			add(target, "remap_file_pages");
		} else {
			munmap(target, page_size);
		}
	}
}

/* Looks beyond the library's shared mappings. Skips the test's own page, and the data store, which the instance may
 * use. */
static void look_beyond_mappings(void)
{
	struct {
		char *start;
		size_t length, offset;
	} found[32];
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	int mappings = 0, i;

	while (maps != NULL && mappings < 32 && fgets(line, sizeof(line), maps) != NULL) {
		uintptr_t from, to;
		uint64_t offset;
		char access[5];

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %" SCNx64, &from, &to, access, &offset) == 4 &&
		    access[3] == 's' && from != (uintptr_t)common && strstr(line, "/memfd:sam-data") == NULL &&
		    (strstr(line, "/dev/zero") != NULL || strstr(line, "/memfd:") != NULL)) {
			found[mappings].start = (char *)from;
			found[mappings].length = to - from;
			found[mappings++].offset = (size_t)offset;
		}
	}
	if (maps != NULL) {
		fclose(maps);
	}
	if (mappings == 0) {
		observe("no shared mapping");
		give_up();
	}
	for (i = 0; i < mappings; i++) {
		look_beyond(found[i].start, found[i].length, found[i].offset);
	}
}

/* Adds the first page of each memory file in a folder of /proc, except the data store. */
static void look_through(const char *folder, const char *way)
{
	DIR *entries = opendir(folder);
	struct dirent *entry;

	while (entries != NULL && (entry = readdir(entries)) != NULL) {
		char path[600], target[256];
		ssize_t length;
		int fd;

		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		length = readlink(path, target, sizeof(target) - 1);
		if (length <= 0) {
			continue;
		}
		target[length] = '\0';
		if ((strstr(target, "/memfd:") == NULL && strstr(target, "/dev/zero") == NULL) ||
		    strstr(target, "/memfd:sam-data") != NULL) {
			continue;
		}
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0) {
			void *page = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

			if (page != MAP_FAILED) {
				add(page, way);
			}
			close(fd);
		}
	}
	if (entries != NULL) {
		closedir(entries);
	}
}

static void look_everywhere(pid_t supervisor)
{
	char folder[64];

	look_beyond_mappings();
	sprintf(folder, "/proc/%ld/fd", (long)supervisor);
	look_through(folder, "a descriptor of the supervisor");
	sprintf(folder, "/proc/%ld/map_files", (long)supervisor);
	look_through(folder, "a mapping of the supervisor");
	look_through("/proc/self/map_files", "a mapping of its own");
	look_through("/proc/self/fd", "a descriptor of its own");
}

static void become_nobody(void)
{
	if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0) {
		leave_out("cannot drop root's privileges");
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Writes another program name to status pages. Word 16 is the length of the name. */
static void forge(void)
{
	int i;

	for (i = 0; i < count; i++) {
		volatile uint64_t *words = (volatile uint64_t *)reached[i];

		if (words[0] >> 8 == 0x73616d2d737420) { /* "sam-st " and the version of the layout */
			words[16] = 6;
			memcpy((void *)(uintptr_t)&words[17], "forged", 6);
		}
	}
}

/* Stores heartbeats. The first word of a control page is the last heartbeat. */
static void send_heartbeats(void)
{
	int i;

	for (i = 0; i < count; i++) {
		((volatile uint64_t *)reached[i])[0] = now_ns();
	}
}

/* Sets every word that is 0, and wakes the process that waits for it. */
static void set_all_words(void)
{
	size_t words = 4096 / sizeof(uint32_t), word;
	int i;

	for (i = 0; i < count; i++) {
		for (word = 0; word < words; word++) {
			volatile uint32_t *at = (volatile uint32_t *)reached[i] + word;

			if (*at == 0) {
				*at = 1;
				syscall(SYS_futex, at, FUTEX_WAKE, 1, NULL, NULL, 0);
			}
		}
	}
}

/* Returns true if the supervisor has another child that sleeps, which is the spare. */
static int has_spare(pid_t supervisor)
{
	char path[64];
	FILE *list;
	int waiting = 0;
	long child;

	sprintf(path, "/proc/%ld/task/%ld/children", (long)supervisor, (long)supervisor);
	list = fopen(path, "r");
	while (list != NULL && fscanf(list, "%ld", &child) == 1) {
		waiting |= child != (long)getpid() && process_state((pid_t)child) == 'S';
	}
	if (list != NULL) {
		fclose(list);
	}
	return waiting;
}

int main(int argc, char **argv)
{
	pid_t supervisor = getpid();
	unsigned int instance;
	long until_ms;

	if (argc != 2) {
		return 2;
	}
	page_size = (size_t)sysconf(_SC_PAGESIZE);
	common = shared_memory(sizeof(*common));
	if (pipe(wake_pipe) != 0) {
		return 2;
	}
	MUST(sam_initialize(strcmp(argv[1], "revive") == 0 ? INTERVAL_MS : 0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	if (common->first != 0 && kill(common->first, 0) == 0) {
		observe("instance %u runs beside the first as user %d", instance, (int)getuid());
		return 1;
	}
	if (instance == 3) {
		common->over = 1;
		observe("instance 3");
		return 0;
	}
	if (instance == 1) {
		common->first = getpid();
	}
	MUST(sam_start());
	observe("instance %u", instance);
	if (instance == 2) {
		observe("hangs");
		hang();
		common->over = 1;
		give_up();
	}
	if (strcmp(argv[1], "revive") == 0) {
		/* This process ends with the test. */
		if (fork() == 0) {
			become_nobody();
			for (until_ms = now_ms() + 20000; !common->over && now_ms() < until_ms; sleep_ms(20)) {
				if (kill(supervisor, 0) != 0 && errno == ESRCH) {
					break;
				}
				/* Look once, because later instances get new pages. */
				if (count == 0) {
					look_beyond_mappings();
				}
				send_heartbeats();
			}
			_exit(0);
		}
		become_nobody();
		sleep_ms(INTERVAL_MS / 2);
		raise(SIGKILL);
	}
	become_nobody();
	for (until_ms = now_ms() + 20000; strcmp(argv[1], "release") == 0 && !has_spare(supervisor); sleep_ms(5)) {
		if (now_ms() > until_ms) {
			observe("no spare");
			give_up();
		}
	}
	look_everywhere(supervisor);
	if (strcmp(argv[1], "forge") == 0) {
		forge();
	} else {
		set_all_words();
	}
	observe(count == 0 ? "reached nothing" : "reached %d pages", count);
	if (count > 0 || strcmp(argv[1], "forge") == 0) {
		sleep_ms(count > 0 ? 2000 : 60000);
	}
	sam_stop();
	return 0;
}
