/* A program closes stdin, stdout and stderr, as some daemons do. Its stray writes to them must reach nothing. */
#include "observe.h"

#include <fcntl.h>

int main(void)
{
	int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100);
	char data[16] = "";
	unsigned int instance;
	int stray_writes = 0, i;

	for (i = 0; i < 3; i++) {
		close(i);
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_data_store("kept", 5));
	MUST(sam_register(&instance));
	for (i = 0; i < 3; i++) {
		stray_writes += write(i, "accident", 8) != -1;
	}
	MUST(sam_start());
	if (instance == 1) {
		raise(SIGKILL);
	}
	MUST(sam_data_restore(data, sizeof(data)));
	MUST(sam_stop());
	dup2(out, STDOUT_FILENO);
	observe("instance %u: %d stray writes, %s", instance, stray_writes, data);
	return 0;
}
