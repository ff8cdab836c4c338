/* A timer's handler sends heartbeats during stores of large data. It runs many times during one store, so an instance
 * that sends its heartbeats in a handler stays alive however long the store takes. */
#include "observe.h"

#include <sys/time.h>

#define LARGE ((size_t)64 << 20)
#define STORES 50
/* Two would be possible even if signals were blocked during the whole store: one at its begin, one at its end. */
#define MANY 8

static volatile sig_atomic_t beats;

static void beat_soon(void)
{
	struct itimerval soon = {{0, 0}, {0, 500}};

	setitimer(ITIMER_REAL, &soon, NULL);
}

static void handler(int signal_number)
{
	(void)signal_number;
	MUST(sam_hc_send());
	beats++;
	beat_soon();
}

int main(void)
{
	struct itimerval never = {{0, 0}, {0, 0}};
	char *data = malloc(LARGE);
	unsigned int instance;
	int i, most = 0;

	if (data == NULL) {
		return 2;
	}
	memset(data, 7, LARGE);
	on_signal(SIGALRM, handler);
	MUST(sam_initialize(60000, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_start());
	/* Allocate the memory for both slots first. */
	MUST(sam_data_store(data, LARGE));
	MUST(sam_data_store(data, LARGE));
	beat_soon();
	for (i = 0; i < STORES && most < MANY; i++) {
		int before = beats;

		MUST(sam_data_store(data, LARGE));
		if (beats - before > most) {
			most = beats - before;
		}
	}
	setitimer(ITIMER_REAL, &never, NULL);
	observe("# %d heartbeats in one store", most);
	observe("heartbeats during a store: %s", most >= MANY ? "many" : "few");
	MUST(sam_finalize());
	return 0;
}
