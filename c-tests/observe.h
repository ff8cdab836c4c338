/* What the programs in this folder share: saying what they saw, one line at a time. */
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

/* One write per line, so that lines of several processes never mix. A line that begins with '#' is a note with what
 * differs from run to run: a pid, a time. */
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

/* For signal handlers: the line ends with its own newline. */
static inline void say(const char *line)
{
	int saved = errno;

	if (write(STDOUT_FILENO, line, strlen(line)) < 0) {
		_exit(98);
	}
	errno = saved;
}

static inline long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

/* Sleeps the whole time, whatever signals arrive. */
static inline void sleep_ms(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000L};

	while (nanosleep(&left, &left) != 0 && errno == EINTR) {
	}
}

/* Says nothing to sam for so long that it must act; a program that gets past this is no longer supervised. */
static inline void hang(void)
{
	sleep_ms(30000);
	say("nobody ended the hang\n");
}

/* Ends a test program from any state, without a restart. */
static inline void give_up(void)
{
	sam_finalize();
	_exit(99);
}

/* Ends a test program that cannot do here what it is for. */
static inline void leave_out(const char *why)
{
	observe("left out: %s: %s", why, strerror(errno));
	sam_finalize();
	_exit(77);
}

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

/* Memory that all instances and the supervisor see, for what one instance has to tell the next outside sam. */
static inline void *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		_exit(97);
	}
	return memory;
}

/* What /proc/PID/stat says behind the name, put into `line`. NULL: there is no such process. */
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

/* The state of a process: S for asleep, T for stopped. '-': there is none. */
static inline char process_state(pid_t process)
{
	char line[1024];
	const char *stat = process_stat(process, line);

	return stat == NULL ? '-' : stat[0];
}

/* The processor time that a process has used. -1: there is none. */
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
