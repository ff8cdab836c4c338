/* The supervisor is refused a resource that the next instance needs: fork_fails processes|descriptors|memory [hang].
 * The instance crashes, and the limit is lifted after 2 s. With a second argument the instance hangs, and the limit is
 * lifted 2 s after the time of the kill. */
#include "observe.h"

#include <sys/resource.h>

#define INTERVAL_MS 1500

int main(int argc, char **argv)
{
	volatile int *lifted = shared_memory(sizeof(*lifted));
	pid_t supervisor = getpid();
	unsigned int instance;
	struct rlimit was, none;
	int resource, ends[2];
	cs_error_t code;

	if (argc < 2) {
		return 2;
	}
	resource = strcmp(argv[1], "processes") == 0 ? RLIMIT_NPROC
		   : strcmp(argv[1], "memory") == 0  ? RLIMIT_AS
						     : RLIMIT_NOFILE;
	/* RLIMIT_NPROC does not bind root (getrlimit(2)). */
	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
		return 2;
	}
	getrlimit(resource, &was);
	none = was;
	none.rlim_cur = 0;
	if (pipe(ends) != 0) {
		return 2;
	}
	if (fork() == 0) {
		char byte;

		close(ends[1]);
		if (read(ends[0], &byte, 1) == 1) {
			sleep_ms(argc > 2 ? 2 * INTERVAL_MS + 2000 : 2000);
			*lifted = 1;
			observe("the limit is lifted");
			prlimit(supervisor, resource, &was, NULL);
		}
		_exit(0);
	}
	close(ends[0]);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	code = sam_register(&instance);
	if (getpid() == supervisor) {
		observe("the program's code runs in the supervisor");
		observe("# sam_register %d", (int)code);
		return 1;
	}
	if (instance > 1 && resource == RLIMIT_NPROC && !*lifted) {
		MUST(sam_start());
		raise(SIGKILL); /* this is the spare, forked before the limit was set */
	}
	observe(instance == 1 ? "instance 1" : "the next instance");
	if (instance > 1) {
		return 0;
	}
	MUST(sam_start());
	while (process_state(supervisor) != 'S') { /* until it sleeps, and may have forked a spare */
		sleep_ms(1);
	}
	if (prlimit(supervisor, resource, &none, NULL) != 0 || write(ends[1], "", 1) != 1) {
		observe("no limit set: %s", strerror(errno));
		give_up();
	}
	if (argc > 2) {
		hang();
	}
	raise(SIGKILL);
	return 98;
}
