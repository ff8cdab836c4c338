/* A signal is sent to the supervisor, whose pid the service manager knows: signal_supervisor NUMBER handled|default. */
#include "observe.h"

static pid_t supervisor;
static volatile int *handled; /* shared by both processes */

static void handler(int signal_number)
{
	(void)signal_number;
	say(getpid() == supervisor ? "handled in the supervisor\n" : "handled in the instance\n");
	*handled = 1;
}

int main(int argc, char **argv)
{
	unsigned int instance;
	int number, i;

	if (argc != 3) {
		return 2;
	}
	number = atoi(argv[1]);
	supervisor = getpid();
	handled = shared_memory(sizeof(*handled));
	if (strcmp(argv[2], "handled") == 0) {
		on_signal(number, handler);
	}
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		return 5;
	}
	MUST(sam_start());
	kill(supervisor, number);
	for (i = 0; i < 2000 && !*handled && getppid() == supervisor; i++) {
		sleep_ms(10);
	}
	if (getppid() != supervisor) {
		observe("the instance lives on unsupervised");
	}
	return 6;
}
