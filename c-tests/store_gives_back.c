/* The memory of large data is freed when the data is forgotten, or replaced by small data. */
#include "observe.h"

#include <dirent.h>
#include <sys/stat.h>

#define LARGE ((size_t)64 << 20)
#define LITTLE ((long)1 << 20)

static char *large;

/* Returns the memory used by the files of the data store. */
static long stored_bytes(void)
{
	DIR *entries = opendir("/proc/self/fd");
	struct dirent *entry;
	long bytes = 0;
	int files = 0;

	while (entries != NULL && (entry = readdir(entries)) != NULL) {
		char path[300], target[64];
		struct stat file;
		ssize_t length;

		snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
		length = readlink(path, target, sizeof(target));
		if (length > 15 && memcmp(target, "/memfd:sam-data", 15) == 0 && stat(path, &file) == 0) {
			bytes += (long)file.st_blocks * 512;
			files++;
		}
	}
	if (entries != NULL) {
		closedir(entries);
	}
	if (files == 0) {
		observe("no files of the store");
		give_up();
	}
	return bytes;
}

/* Returns the anonymous memory of a process. */
static long private_bytes(pid_t process)
{
	char path[64], line[256];
	long kib = -1;
	FILE *file;

	sprintf(path, "/proc/%ld/status", (long)process);
	file = fopen(path, "r");
	while (file != NULL && kib < 0 && fgets(line, sizeof(line), file) != NULL) {
		sscanf(line, "RssAnon: %ld", &kib);
	}
	if (file != NULL) {
		fclose(file);
	}
	return kib * 1024;
}

/* Prints whether the data store uses at most LITTLE bytes. */
static void expect_little(const char *when)
{
	long bytes = stored_bytes();

	observe("# %s: %ld bytes", when, bytes);
	observe("%s: %s", when, bytes <= LITTLE ? "little" : "much");
}

/* Checks the stored data. */
static void expect_data(const char *data, size_t length)
{
	size_t size;

	memset(large + LARGE, 0, LARGE);
	MUST(sam_data_getsize(&size));
	MUST(sam_data_restore(large + LARGE, LARGE));
	if (size != length || memcmp(large + LARGE, data, length) != 0) {
		observe("%lu stored bytes are lost or damaged", (unsigned long)length);
		give_up();
	}
}

/* Stores large data three times, so that both slots hold it. */
static void store_large(void)
{
	int i;

	for (i = 0; i < 3; i++) {
		large[0] = (char)i;
		MUST(sam_data_store(large, LARGE));
	}
	expect_data(large, LARGE);
	if (stored_bytes() < (long)LARGE) {
		observe("the stored data is in no file of the data store");
		give_up();
	}
}

int main(void)
{
	unsigned int instance;
	long before, until_ms;

	large = mmap(NULL, 2 * LARGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (large == MAP_FAILED) {
		return 2;
	}
	memset(large, 'x', LARGE);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	before = private_bytes(getpid());
	MUST(sam_data_store(large, LARGE));
	expect_data(large, LARGE);
	MUST(sam_register(&instance));
	MUST(sam_start());
	if (instance == 2) {
		/* This instance has not read the data. */
		MUST(sam_data_store(NULL, 0));
		expect_little("forgotten after a restart");
		return sam_stop() == CS_OK ? 0 : 1;
	}
	expect_data(large, LARGE);
	(void)stored_bytes();
	until_ms = now_ms() + 20000;
	while (private_bytes(getppid()) - before > (long)LARGE / 2) {
		if (now_ms() > until_ms) {
			observe("the supervisor keeps a copy of the data");
			give_up();
		}
		sleep_ms(5);
	}
	observe("private memory of the instance: %s",
		private_bytes(getpid()) - before < (long)LARGE / 2 ? "little" : "much");
	store_large();
	MUST(sam_data_store(NULL, 0));
	expect_little("forgotten");
	store_large();
	MUST(sam_data_store("small", 6));
	expect_little("small after large");
	expect_data("small", 6);
	store_large();
	MUST(sam_data_store(large, 300000));
	expect_data(large, 300000);
	MUST(sam_data_store("small", 6));
	MUST(sam_data_store("other", 6));
	expect_little("shrunk in two steps");
	expect_data("other", 6);
	store_large();
	raise(SIGKILL);
	return 98;
}
