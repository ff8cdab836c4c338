/* A program opens a file of its own in the place of standard error: stderr_taken PATH. Instance 1 crashes. */
#include "observe.h"

#include <fcntl.h>

int main(int argc, char **argv)
{
	unsigned int instance;

	if (argc < 2) {
		return 2;
	}
	close(STDERR_FILENO);
	if (open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600) != STDERR_FILENO) {
		return 2;
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	MUST(sam_start());
	if (instance == 1) {
		raise(SIGKILL);
	}
	MUST(sam_stop());
	observe("instance %u", instance);
	return 0;
}
