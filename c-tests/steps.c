/*
 * Executes commands, one line of standard input at a time, and prints their results:
 *
 *   <CLOCK_MONOTONIC in ms> <pid> <command> <result>
 *
 * All instances read the same input, so a command goes to the instance that runs at that time. Reactions to warnings:
 * "note" prints them, "obey" stops health checking, "leave" exits.
 */
#include <corosync/sam.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int beating;

static void say(const char *what, int result)
{
	struct timespec now;
	char line[160];
	int length;

	clock_gettime(CLOCK_MONOTONIC, &now);
	length = snprintf(line, sizeof line, "%lld %ld %s %d\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000,
			  (long)getpid(), what, result);
	if (write(STDOUT_FILENO, line, (size_t)length) != length)
		_exit(99);
}

static void warned(int signal)
{
	say("warned", signal);
}

static void leave(int signal)
{
	say("leaving", signal);
	_exit(0);
}

static void obey(int signal)
{
	(void)signal;
	say("stopped", (int)sam_stop());
}

static void answer(int signal)
{
	(void)signal;
	say("answered", (int)sam_warn_signal_set(SIGTERM));
}

static int healthy(void)
{
	return 0;
}

/* Reads one byte at a time, because the rest of the input is for the next reader. */
static int next_line(char *line, size_t size)
{
	size_t length = 0;

	while (length + 1 < size) {
		ssize_t n = read(STDIN_FILENO, line + length, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		if (line[length] == '\n')
			break;
		length++;
	}
	line[length] = '\0';
	return 1;
}

static void handle(const char *line, int number, void (*handler)(int))
{
	say(line, signal(number, handler) != SIG_ERR);
}

/* Executes a command. */
static void carry_out(const char *line)
{
	int number = 0, policy = 0;
	unsigned int instance = 0;

	if (sscanf(line, "initialize %d %d", &number, &policy) == 2)
		say("initialize", (int)sam_initialize(number, (sam_recovery_policy_t)policy));
	else if (strcmp(line, "register") == 0) {
		int result = (int)sam_register(&instance);
		say("register", result);
		say("instance", (int)instance);
		say("supervisor", (int)getppid());
	} else if (strcmp(line, "start") == 0)
		say("start", (int)sam_start());
	else if (strcmp(line, "stop") == 0)
		say("stop", (int)sam_stop());
	else if (strcmp(line, "callback") == 0)
		say("callback", (int)sam_hc_callback_register(healthy));
	else if (strcmp(line, "beat") == 0) {
		beating = 1;
		say("beat", 1);
	} else if (strcmp(line, "silence") == 0) {
		beating = 0;
		say("silence", 1);
	} else if (strcmp(line, "mark_failed") == 0)
		say("mark_failed", (int)sam_mark_failed());
	else if (strcmp(line, "finalize") == 0)
		say("finalize", (int)sam_finalize());
	else if (sscanf(line, "exit %d", &number) == 1)
		exit(number);
	else if (sscanf(line, "raise %d", &number) == 1)
		raise(number);
	else if (strcmp(line, "note") == 0)
		handle(line, SIGTERM, warned);
	else if (strcmp(line, "obey") == 0)
		handle(line, SIGTERM, obey);
	else if (strcmp(line, "leave") == 0)
		handle(line, SIGTERM, leave);
	else if (strcmp(line, "answer") == 0)
		handle(line, SIGUSR1, answer);
	else if (strcmp(line, "time") == 0)
		say("time", 1);
	else if (strcmp(line, "parent") == 0)
		say("parent", (int)getppid());
	else
		say(line, -1);
}

int main(void)
{
	char line[80];

	for (;;) {
		struct pollfd input = {STDIN_FILENO, POLLIN, 0};
		int ready = poll(&input, 1, beating ? 20 : -1);

		if (beating && sam_hc_send() != CS_OK)
			say("refused", beating = 0);
		if (ready > 0) {
			if (!next_line(line, sizeof line))
				return 0;
			carry_out(line);
		}
	}
}
