/* Functions shared by the programs in this folder. */
#ifndef OBSERVE_H
#define OBSERVE_H

#include <corosync/sam.h>

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Prints a line with one write(2), so that lines of several processes do not mix. A line that begins with '#' is a note
 * with a value that differs from run to run, such as a pid or a time. */
static inline void observe(const char *format, ...)
{
	char line[1024];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	if (length < 0 || length > (int)sizeof(line) - 2) {
		abort();
	}
	line[length++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)length) != length) {
		_exit(98);
	}
}

/* Prints text from a signal handler. `line` includes the newline. */
static inline void say(const char *line)
{
	int saved = errno;

	if (write(STDOUT_FILENO, line, strlen(line)) < 0) {
		_exit(98);
	}
	errno = saved;
}

/* Returns CLOCK_MONOTONIC in ms. */
static inline long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	/* A long of 32 bits holds 24 days of milliseconds. The machine may run for longer. */
	return (sizeof(long) > 4 ? now.tv_sec : now.tv_sec & 0xfffff) * 1000L + now.tv_nsec / 1000000L;
}

/* Sleeps for the whole time, also if signals arrive. */
static inline void sleep_ms(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000L};

	while (nanosleep(&left, &left) != 0 && errno == EINTR) {
	}
}

/* Stays silent until the supervisor kills the instance. Returns after 30 s, in which case the test fails. */
static inline void hang(void)
{
	sleep_ms(30000);
	say("the supervisor did not end the hang\n");
}

/* Ends the program from any state, without a restart. */
static inline void give_up(void)
{
	sam_finalize();
	_exit(99);
}

/* Ends a program that cannot run on this machine. */
static inline void leave_out(const char *why)
{
	observe("left out: %s: %s", why, strerror(errno));
	sam_finalize();
	_exit(77);
}

/* Gives up if a call failed. */
static inline void must(cs_error_t code, const char *call)
{
	if (code != CS_OK) {
		observe("%s: %d", call, (int)code);
		give_up();
	}
}

#define MUST(call) must((call), #call)

static inline void on_signal(int signal_number, void (*handler)(int))
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	sigaction(signal_number, &action, NULL);
}

/* Returns memory that the supervisor and all instances share, for the test's own records. */
static inline void *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		_exit(97);
	}
	return memory;
}

/* Reads /proc/PID/stat into `line`, and returns the part after the program's name. NULL: there is no such process. */
static inline const char *process_stat(pid_t process, char line[1024])
{
	char path[32];
	char *end = NULL;
	FILE *file;

	sprintf(path, "/proc/%ld/stat", (long)process);
	file = fopen(path, "r");
	if (file == NULL) {
		return NULL;
	}
	if (fgets(line, 1024, file) != NULL) {
		end = strrchr(line, ')');
	}
	fclose(file);
	return end == NULL ? NULL : end + 2;
}

/* Returns the state of a process: S for sleeping, T for stopped, '-' if there is no such process. */
static inline char process_state(pid_t process)
{
	char line[1024];
	const char *stat = process_stat(process, line);

	return stat == NULL ? '-' : stat[0];
}

/* Returns the processor time that a process has used, in ms, or -1 if there is no such process. */
static inline long processor_ms(pid_t process)
{
	char line[1024];
	const char *stat = process_stat(process, line);
	unsigned long user, system;

	if (stat == NULL || sscanf(stat, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
		return -1;
	}
	return (long)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

#endif
