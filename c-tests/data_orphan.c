/* Reads the stored data after the supervisor was killed. */
#include "observe.h"

int main(void)
{
	char data[16] = "";
	size_t size = 0;
	unsigned int instance;
	pid_t supervisor = getpid();

	signal(SIGTERM, SIG_IGN);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	MUST(sam_start());
	MUST(sam_data_store("kept", 5));
	kill(supervisor, SIGKILL);
	while (getppid() == supervisor) {
		sleep_ms(1);
	}
	observe("sam_data_getsize: %d", (int)sam_data_getsize(&size));
	observe("sam_data_restore: %d", (int)sam_data_restore(data, sizeof(data)));
	observe("%d bytes, %s", (int)size, data);
	return 0;
}
