/* The supervisor is killed: orphan keep|drop, to give up root's rights first. */
#include "observe.h"

static volatile sig_atomic_t terminated;

static void terminate(int signal_number)
{
	(void)signal_number;
	terminated = 1;
}

static void broken_pipe(int signal_number)
{
	(void)signal_number;
	say("SIGPIPE\n");
}

/* A process that keeps its rights and kills the supervisor when told. */
static int killer(pid_t supervisor)
{
	int ends[2];
	char byte;

	if (pipe(ends) != 0) {
		give_up();
	}
	if (fork() == 0) {
		close(ends[1]);
		if (read(ends[0], &byte, 1) == 1) {
			kill(supervisor, SIGKILL);
		}
		_exit(0);
	}
	close(ends[0]);
	return ends[1];
}

int main(int argc, char **argv)
{
	unsigned int instance;
	int command, i;

	if (argc != 2) {
		return 2;
	}
	on_signal(SIGTERM, terminate);
	on_signal(SIGPIPE, broken_pipe);
	MUST(sam_initialize(60000, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	command = killer(getppid());
	if (strcmp(argv[1], "drop") == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
		leave_out("only root has rights to give up");
	}
	MUST(sam_start());
	observe("supervised, sam_hc_send: %d", (int)sam_hc_send());
	if (write(command, "", 1) != 1) {
		give_up();
	}
	for (i = 0; i < 150 && !terminated; i++) {
		sleep_ms(10);
	}
	observe(terminated ? "SIGTERM" : "the instance lives on unwatched");
	observe("sam_hc_send: %d", (int)sam_hc_send());
	observe("sam_data_store: %d", (int)sam_data_store("data", 5));
	observe("sam_stop: %d", (int)sam_stop());
	return 0;
}
