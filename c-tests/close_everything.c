/* Closes every descriptor that it did not open, as many daemons do: close_everything beat|hang|crash. */
#include "observe.h"

#define INTERVAL_MS 1500

static void warned(int signal_number)
{
	(void)signal_number;
	say("warned\n");
}

int main(int argc, char **argv)
{
	unsigned int instance;
	int i;

	if (argc != 2) {
		return 2;
	}
	on_signal(SIGTERM, warned);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_data_store("kept", 5));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		char data[5] = "";

		MUST(sam_data_restore(data, sizeof(data)));
		observe("%s", data);
		return 0;
	}
	for (i = 3; i < 1024; i++) {
		close(i);
	}
	observe("sam_start: %d", (int)sam_start());
	if (strcmp(argv[1], "beat") == 0) {
		for (i = 0; i < 20; i++) {
			sleep_ms(INTERVAL_MS / 5);
			MUST(sam_hc_send());
		}
		observe("alive after four intervals");
		MUST(sam_stop());
		return 0;
	}
	if (strcmp(argv[1], "crash") == 0) {
		raise(SIGKILL);
	}
	hang();
	return 0;
}
