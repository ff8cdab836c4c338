/* Handlers store and restore while they interrupt a store or a restore, in two threads, and instances are killed
 * meanwhile. Restored data must always be what one store wrote. */
#include "observe.h"

#include <pthread.h>
#include <sys/time.h>

#define INSTANCES 6
#define HANDLERS 120
#define MOST (1 << 20)

static volatile sig_atomic_t handled;
static volatile sig_atomic_t unexpected;

/* The buffers of a thread, or of the handler. */
struct room {
	char stored[MOST];
	char restored[MOST];
};

static void store(struct room *room, char letter, size_t size)
{
	memset(room->stored, letter, size);
	if (sam_data_store(room->stored, size) != CS_OK) {
		unexpected = 1;
	}
}

/* Restores and checks the data. Another store may change it between the two calls, but never beyond the buffer. */
static void restore(struct room *room)
{
	size_t size, i;

	memset(room->restored, 0, MOST);
	if (sam_data_getsize(&size) != CS_OK || size == 0 || size > MOST ||
	    sam_data_restore(room->restored, MOST) != CS_OK) {
		unexpected = 2;
	}
	for (size = MOST; size > 1 && room->restored[size - 1] == 0; size--) {
	}
	for (i = 0; i < size; i++) {
		if (room->restored[i] != room->restored[0]) {
			unexpected = 3;
		}
	}
}

/* Sets a timer for the next interruption. It runs from the end of this one, so that the interrupted call makes
 * progress. */
static void interrupt_soon(void)
{
	struct itimerval soon = {{0, 0}, {0, 200}};

	setitimer(ITIMER_REAL, &soon, NULL);
}

static void handler(int signal_number)
{
	static struct room room;
	size_t size = 1 + (size_t)rand() % MOST;

	(void)signal_number;
	store(&room, 'H', size);
	restore(&room);
	store(&room, 'h', size / 2 + 1);
	restore(&room);
	handled++;
	interrupt_soon();
}

static void work(struct room *room, char letter, unsigned int seed)
{
	while (handled < HANDLERS) {
		store(room, letter, 1 + (size_t)rand_r(&seed) % MOST);
		restore(room);
	}
}

static void *beside(void *unused)
{
	static struct room room;
	sigset_t alarm;

	(void)unused;
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	work(&room, 'T', 1);
	return NULL;
}

int main(void)
{
	static struct room room;
	unsigned int instance;
	pthread_t thread;

	on_signal(SIGALRM, handler);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	if (instance > 1) {
		restore(&room);
	}
	MUST(sam_start());
	if (instance < INSTANCES && unexpected == 0) {
		store(&room, 'M', MOST);
		if (pthread_create(&thread, NULL, beside, NULL) != 0) {
			return 2;
		}
		interrupt_soon();
		work(&room, 'M', instance);
		if (unexpected == 0) {
			raise(SIGKILL);
		}
	}
	if (unexpected != 0) {
		observe("instance %u: unexpected result %d", instance, (int)unexpected);
	} else {
		observe("instance %u, all data whole", instance);
	}
	MUST(sam_finalize());
	_exit(0);
}
