/* A silent instance is warned after one interval, and killed after two: hang POLICY. */
#include "observe.h"

#define INTERVAL_MS 1500

static struct times {
	long heartbeat_ms;
	long warning_ms;
} *times;

static void warned(int signal_number)
{
	times->warning_ms = now_ms();
	say(signal_number == SIGTERM ? "warned by SIGTERM\n" : "warned by another signal\n");
}

int main(int argc, char **argv)
{
	unsigned int instance;
	int i;

	if (argc != 2) {
		return 2;
	}
	times = shared_memory(sizeof(*times));
	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS,
			    strcmp(argv[1], "QUIT") == 0 ? SAM_RECOVERY_POLICY_QUIT : SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		observe("# interval %d", INTERVAL_MS);
		observe("# warned %ld", times->warning_ms - times->heartbeat_ms);
		observe("# killed %ld", now_ms() - times->heartbeat_ms);
		return 0;
	}
	MUST(sam_start());
	for (i = 0; i < 4; i++) {
		sleep_ms(INTERVAL_MS / 8);
		times->heartbeat_ms = now_ms();
		MUST(sam_hc_send());
	}
	hang();
	return 0;
}
