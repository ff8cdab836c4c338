/* Each instance causes the trouble that the command line names for it. The last trouble is repeated:
 * troubled INTERVAL TROUBLE.., with TROUBLE exit=CODE, signal=NUMBER, run=MS (run, then exit with 1), hang, deaf (a
 * hang that only SIGKILL ends), huge (a hang of a process whose core dump takes long), wait (healthy until SIGUSR1, then a
 * hang), recover (a silence that ends after the warning, then stop) or stop. */
#include "observe.h"

static volatile sig_atomic_t warned, told;

static void on_warning(int number)
{
	(void)number;
	warned = 1;
}

static void on_told(int number)
{
	(void)number;
	told = 1;
}

static int value(const char *trouble)
{
	return atoi(strchr(trouble, '=') + 1);
}

/* Maps address space that a core dump visits page by page, with almost no memory behind it. */
static void grow(void)
{
	size_t size = (size_t)1 << (sizeof(size_t) > 4 ? 40 : 31);
	char *space = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (space == MAP_FAILED || sizeof(size_t) == 4) {
		observe("cannot map 1 TiB of address space");
		give_up();
	}
	space[0] = space[size - 1] = 1;
}

int main(int argc, char **argv)
{
	const char *trouble;
	unsigned int instance;
	int i, interval_ms;

	if (argc < 3) {
		return 2;
	}
	interval_ms = atoi(argv[1]);
	on_signal(SIGTERM, on_warning);
	on_signal(SIGUSR1, on_told);
	MUST(sam_initialize(interval_ms, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	MUST(sam_start());
	observe("# pid of %u %ld", instance, (long)getpid());
	trouble = argv[(int)instance + 1 < argc ? (int)instance + 1 : argc - 1];
	if (strncmp(trouble, "exit=", 5) == 0) {
		_exit(value(trouble));
	}
	if (strncmp(trouble, "signal=", 7) == 0) {
		raise(value(trouble));
	}
	if (strncmp(trouble, "run=", 4) == 0) {
		sleep_ms(value(trouble));
		_exit(1);
	}
	if (strcmp(trouble, "deaf") == 0) {
		on_signal(SIGABRT, on_warning);
		trouble = "hang";
	}
	if (strcmp(trouble, "huge") == 0) {
		grow();
		trouble = "hang";
	}
	if (strcmp(trouble, "wait") == 0) {
		while (!told) {
			MUST(sam_hc_send());
			sleep_ms(interval_ms / 8);
		}
		observe("hangs");
		trouble = "hang";
	}
	while (strcmp(trouble, "hang") == 0) {
		pause();
	}
	if (strcmp(trouble, "recover") == 0) {
		while (!warned) {
			sleep_ms(1);
		}
		/* Long enough for the supervisor, which wakes up once per interval, to see the recovery. */
		for (i = 0; i < 40; i++) {
			MUST(sam_hc_send());
			sleep_ms(interval_ms / 20);
		}
	}
	MUST(sam_stop());
	return 0;
}
