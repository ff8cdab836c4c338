/* Counts the SIGTERMs it receives, like a program whose second SIGTERM means "exit at once". Prints when it is ready,
 * and the count. */
#include "observe.h"

static volatile sig_atomic_t terms;

static void on_term(int number)
{
	(void)number;
	terms++;
}

int main(void)
{
	unsigned int instance;
	int i;

	on_signal(SIGTERM, on_term);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	MUST(sam_start());
	sleep_ms(1500); /* the supervisor forwards every SIGTERM to an instance that it has just forked */
	observe("# ready %ld", (long)getpid());
	while (terms == 0) {
		sleep_ms(10);
	}
	for (i = 0; i < 100 && terms < 2; i++) { /* like a program that cleans up */
		sleep_ms(10);
	}
	observe("SIGTERM: %d", (int)terms);
	return 3;
}
