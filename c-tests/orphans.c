/* An instance leaves an orphan that ends later. The supervisor becomes its parent, and must reap it. */
#include "observe.h"

int main(void)
{
	unsigned int instance;
	pid_t child, orphan = 0;
	int ends[2], i;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_start());
	if (pipe(ends) != 0) {
		return 2;
	}
	child = fork();
	if (child == 0) {
		orphan = fork();
		if (orphan == 0) {
			sleep_ms(100);
			_exit(0);
		}
		_exit(write(ends[1], &orphan, sizeof(orphan)) != sizeof(orphan));
	}
	waitpid(child, NULL, 0);
	if (read(ends[0], &orphan, sizeof(orphan)) != sizeof(orphan)) {
		return 2;
	}
	for (i = 0; i < 3000 && kill(orphan, 0) == 0; i++) {
		sleep_ms(10);
	}
	observe("the supervisor is process 1: %d", getppid() == 1);
	observe(kill(orphan, 0) == 0 ? "the orphan is still there" : "the orphan was reaped");
	MUST(sam_stop());
	return 0;
}
