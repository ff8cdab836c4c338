/* Reads the supervisor's standard error for the reason of a restart. */
#include "observe.h"

#include <sys/prctl.h>

int main(void)
{
	unsigned int instance;
	char text[4096] = "";
	size_t length = 0;
	ssize_t more;
	int ends[2];

	if (pipe(ends) != 0) {
		return 2;
	}
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
		MUST(sam_register(&instance));
		MUST(sam_start());
		if (instance == 1) {
			raise(SIGKILL);
		}
		MUST(sam_stop());
		_exit(0);
	}
	close(ends[1]);
	while (length < sizeof(text) - 1 && (more = read(ends[0], text + length, sizeof(text) - 1 - length)) > 0) {
		length += (size_t)more;
	}
	wait(NULL);
	if (length > 0) {
		observe("%s, %s", strstr(text, "died of SIGKILL") ? "the loss" : "something else",
			strstr(text, "restarted as instance 2") ? "the restart" : "something else");
	} else {
		observe("nothing in the log");
	}
	return 0;
}
