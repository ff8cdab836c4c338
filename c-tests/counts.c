/* Counts what a restart costs in page faults and memory, with the library or with the least supervisor there can be.
 * usage: counts sam|floor RESTARTS HEARTBEATS
 * Prints a line for each restart, and in the last instance the memory of the supervisor. Writes to descriptor -1 mark
 * the steps of an instance in a list of its system calls. */
#include "../benches/floor.h"
#include "observe.h"

#include <inttypes.h>
#include <sys/resource.h>

enum { MOST = 100, STORES = 10 };

struct record {
	long of_supervisor[MOST + 2];
	long of_instance[MOST + 2];
};

static void mark(const char *step)
{
	if (write(-1, step, strlen(step)) >= 0) {
		give_up();
	}
}

/* The numbers of /proc/PID/stat and /proc/PID/status that show whether a process has done anything. */
struct activity {
	char state;
	unsigned long faults;
	unsigned long sleeps;
};

static struct activity activity_of(pid_t process)
{
	struct activity found = {'R', 0, 0};
	char path[64], line[512];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)process);
	file = fopen(path, "r");
	if (file == NULL || fgets(line, sizeof(line), file) == NULL ||
	    sscanf(strrchr(line, ')'), ") %c %*d %*d %*d %*d %*d %*u %lu", &found.state, &found.faults) != 2) {
		give_up();
	}
	fclose(file);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)process);
	file = fopen(path, "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		sscanf(line, "voluntary_ctxt_switches: %lu", &found.sleeps);
	}
	if (file != NULL) {
		fclose(file);
	}
	return found;
}

/* Waits until a process has been asleep for a while. Returns the number of its page faults. */
static unsigned long faults_at_rest(pid_t process)
{
	struct activity before = activity_of(process);

	for (int still = 0; still < 5;) {
		struct activity after;

		sleep_ms(4);
		after = activity_of(process);
		still = after.state == 'S' && after.sleeps == before.sleeps ? still + 1 : 0;
		before = after;
	}
	return before.faults;
}

/* Returns the KiB of memory that a process alone has written. */
static long private_memory(pid_t process)
{
	char path[64], line[512], access[8] = "";
	long sum = 0, kib;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)process);
	file = fopen(path, "r");
	if (file == NULL) {
		give_up();
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		/* A page of a file that was just written is dirty too, but is not the supervisor's. */
		if (sscanf(line, "%*x-%*x %7s", access) != 1 && access[1] == 'w' &&
		    sscanf(line, "Private_Dirty: %ld", &kib) == 1) {
			sum += kib;
		}
	}
	fclose(file);
	return sum;
}

int main(int argc, char **argv)
{
	struct record *record = shared_memory(sizeof(*record));
	int with_library = argc == 4 && strcmp(argv[1], "sam") == 0;
	long restarts = argc == 4 ? strtol(argv[2], NULL, 10) : MOST + 1;
	long heartbeats = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
	char data[64] = "data";
	struct rusage usage;
	unsigned int id = 0;

	if (restarts > MOST) {
		return 2;
	}
	/* So that the dynamic linker has found the function before the fork. */
	getrusage(RUSAGE_SELF, &usage);
	if (with_library) {
		MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
		MUST(sam_register(&id));
	} else {
		id = (unsigned int)floor_register(0);
	}
	getrusage(RUSAGE_SELF, &usage);
	mark("registered");
	if (with_library) {
		MUST(sam_start());
	}
	mark("started");
	record->of_instance[id] = usage.ru_minflt;
	record->of_supervisor[id] = (long)faults_at_rest(getppid());
	if ((long)id <= restarts) {
		mark("dies");
		kill(getpid(), SIGKILL);
	}
	/* The first two instances find more to do than later ones. */
	for (long i = 3; i <= restarts + 1; i++) {
		observe("restart: %ld faults in the instance, %ld in the supervisor", record->of_instance[i],
			record->of_supervisor[i] - record->of_supervisor[i - 1]);
	}
	observe("memory: %ld KiB", private_memory(getppid()));
	if (with_library) {
		MUST(sam_hc_send());
		mark("heartbeats");
		for (long i = 0; i < heartbeats; i++) {
			MUST(sam_hc_send());
		}
		mark("heartbeats sent");
		/* The first store makes the file. */
		MUST(sam_data_store(data, sizeof(data)));
		MUST(sam_data_store(data, sizeof(data)));
		mark("stores");
		for (int i = 0; i < STORES; i++) {
			MUST(sam_data_store(data, sizeof(data)));
		}
		mark("stored");
		MUST(sam_stop());
	}
	return 0;
}
