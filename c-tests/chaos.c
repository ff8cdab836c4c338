/* The program of the soak test: chaos INTERVAL QUIT|RESTART. Reads one command per line from standard input, sends
 * heartbeats while it waits for the next command, and prints the results. */
#include "observe.h"

#include <poll.h>

#define LARGEST ((size_t)1 << 18)

static long interval_ms;
static int started, has_callback, unhealthy;
static long long last_beat_ns;
static uint64_t data[LARGEST / sizeof(uint64_t)];

/* The reaction of a hung instance to its warning. */
static enum { STAY_SILENT, BEAT, STOP, CALL_ALL, EXIT } in_warning;
static volatile sig_atomic_t is_over;

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static cs_error_t beat(void)
{
	last_beat_ns = now_ns();
	return sam_hc_send();
}

/* Fills `data` with words that each encode the version and the size. */
static void fill(uint64_t version, size_t size)
{
	size_t i;

	for (i = 0; i * sizeof(data[0]) < size; i++) {
		data[i] = version << 32 ^ (uint64_t)size << 12 ^ i;
	}
}

/* Returns the version of the stored data, 0 if there is none, -1 if the data is not what `fill` made. */
static long stored(size_t *size)
{
	static uint64_t found[LARGEST / sizeof(uint64_t)];
	uint64_t version;

	if (sam_data_getsize(size) != CS_OK || *size > LARGEST || sam_data_restore(found, sizeof(found)) != CS_OK) {
		return -1;
	}
	if (*size == 0) {
		return 0;
	}
	version = (found[0] ^ (uint64_t)*size << 12) >> 32;
	fill(version, *size);
	return memcmp(data, found, *size) == 0 ? (long)version : -1;
}

/* Reports the warning with its time, the last heartbeat, and the codes of the calls made here. */
static void on_warning(int number)
{
	static char whole[LARGEST];
	long long at_ns = now_ns();
	char codes[16] = "";
	size_t size;

	(void)number;
	switch (in_warning) {
	case STAY_SILENT:
		break;
	case BEAT:
		beat();
		is_over = 1;
		break;
	case STOP:
		sprintf(codes, " %d", (int)sam_stop());
		started = 0;
		is_over = 1;
		break;
	case CALL_ALL:
		sprintf(codes, " %d", (int)sam_data_getsize(&size));
		sprintf(codes + 2, "%d", (int)sam_data_restore(whole, sizeof(whole)));
		sprintf(codes + 3, "%d", (int)sam_data_store(whole, size));
		sprintf(codes + 4, "%d", (int)sam_warn_signal_set(SIGUSR2));
		sprintf(codes + 5, "%d", (int)sam_stop());
		sprintf(codes + 6, "%d", (int)sam_start());
		sprintf(codes + 7, "%d", (int)beat());
		is_over = 1;
		break;
	case EXIT:
		observe("warned %lld %lld", at_ns, last_beat_ns);
		_exit(3);
	}
	observe("warned %lld %lld%s", at_ns, last_beat_ns, codes);
}

static void on_other(int number)
{
	observe("signal %d", number);
}

static int health_check(void)
{
	last_beat_ns = now_ns();
	return unhealthy;
}

/* Kills this process after so many microseconds, whatever it does then. */
static void end_in(long us)
{
	struct itimerspec once;
	struct sigevent kill_me;
	timer_t timer;

	memset(&kill_me, 0, sizeof(kill_me));
	kill_me.sigev_notify = SIGEV_SIGNAL;
	kill_me.sigev_signo = SIGKILL;
	memset(&once, 0, sizeof(once));
	once.it_value.tv_nsec = us * 1000 + 1;
	if (timer_create(CLOCK_MONOTONIC, &kill_me, &timer) != 0 || timer_settime(timer, 0, &once, NULL) != 0) {
		_exit(96);
	}
}

static void fall_silent(long how)
{
	in_warning = how;
	is_over = 0;
	beat();
	observe("silent %lld", last_beat_ns);
	while (!is_over) {
		if (how == CALL_ALL) {
			size_t size;
			long version = stored(&size); /* the warning may interrupt any of these calls */

			if (version > 0) {
				sam_data_store(data, size);
			}
		} else {
			sleep_ms(1); /* pause() would miss a warning that comes before it */
		}
	}
	in_warning = STAY_SILENT;
	observe("goes on");
}

/* Executes a command of the soak test. */
static void obey(const char *command)
{
	char word[16] = "";
	long first = 0, second = 0, third = 0;

	sscanf(command, "%15s %ld %ld %ld", word, &first, &second, &third);
	if (strcmp(word, "start") == 0) {
		last_beat_ns = now_ns();
		observe("done %d", (int)sam_start());
		started = 1;
	} else if (strcmp(word, "stop") == 0) {
		observe("done %d", (int)sam_stop());
		started = 0;
	} else if (strcmp(word, "callback") == 0) {
		observe("done %d", (int)sam_hc_callback_register(first ? health_check : NULL));
		has_callback = first != 0;
	} else if (strcmp(word, "unhealthy") == 0) {
		unhealthy = 1;
		observe("done 1");
		while (unhealthy) {
			pause();
		}
	} else if (strcmp(word, "store") == 0) {
		fill((uint64_t)first, (size_t)second);
		if (third > 0) {
			end_in(third);
		}
		observe("done %d", (int)sam_data_store(data, (size_t)second));
		while (third > 0) {
			pause();
		}
	} else if (strcmp(word, "silent") == 0) {
		fall_silent(first);
	} else if (strcmp(word, "die") == 0) {
		signal((int)first, SIG_DFL);
		raise((int)first);
	} else if (strcmp(word, "exit") == 0) {
		_exit((int)first);
	} else if (strcmp(word, "finalize") == 0) {
		observe("done %d", (int)sam_finalize());
		started = 0;
	} else if (strcmp(word, "beat") == 0) {
		observe("done %d", (int)beat());
	} else {
		observe("no such command: %s", command);
	}
}

int main(int argc, char **argv)
{
	struct pollfd input = {STDIN_FILENO, POLLIN, 0};
	unsigned int instance;
	char command[64];
	ssize_t length;
	size_t size;
	long version;

	if (argc != 3) {
		return 2;
	}
	interval_ms = atol(argv[1]);
	on_signal(SIGUSR2, on_warning);
	on_signal(SIGTERM, on_other);
	on_signal(SIGHUP, on_other);
	on_signal(SIGUSR1, on_other);
	on_signal(SIGWINCH, on_other);
	on_signal(SIGRTMIN + 3, on_other);
	MUST(sam_initialize((int)interval_ms,
			    strcmp(argv[2], "QUIT") == 0 ? SAM_RECOVERY_POLICY_QUIT : SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_warn_signal_set(SIGUSR2));
	MUST(sam_register(&instance));
	version = stored(&size);
	observe("born %u %ld %lld %ld %lu", instance, (long)getpid(), now_ns(), version, (unsigned long)size);
	for (;;) {
		if (started && !has_callback) {
			beat();
		}
		if (poll(&input, 1, (int)interval_ms / 8) <= 0) {
			continue;
		}
		length = read(STDIN_FILENO, command, sizeof(command) - 1);
		if (length == 0) {
			_exit(95); /* the soak test has closed the pipe */
		}
		if (length > 0) {
			command[length] = '\0';
			obey(command);
		}
	}
}
