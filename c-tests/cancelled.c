/* Cancels threads inside calls of the library: cancelled deferred|asynchronous. */
#include "observe.h"

#include <pthread.h>

#define LARGE (1 << 18)
#define ROUNDS 40

static char data[LARGE];
static volatile int in_thread;
static volatile int returned;

static int healthy(void)
{
	return 0;
}

#define CALL(function, expression)  \
	static void function(void)  \
	{                           \
		(void)(expression); \
	}
CALL(initialize, sam_initialize(0, SAM_RECOVERY_POLICY_QUIT))
CALL(register_instance, sam_register(NULL))
CALL(start, sam_start())
CALL(stop, sam_stop())
CALL(hc_send, sam_hc_send())
CALL(callback, sam_hc_callback_register(healthy))
CALL(warn, sam_warn_signal_set(SIGUSR1))
CALL(mark_failed, sam_mark_failed())
CALL(restore, sam_data_restore(data, sizeof(data)))
CALL(finalize, sam_finalize())

static void getsize(void)
{
	size_t size;

	(void)sam_data_getsize(&size);
}

static void store(void)
{
	static size_t length = 1;

	length = length * 2 % LARGE + 1;
	(void)sam_data_store(data, length);
}

/* The order puts the session into a state in which each call does its work. */
static const struct call {
	const char *name;
	void (*make)(void);
} calls[] = {
	{"sam_initialize", initialize},
	{"sam_register", register_instance},
	{"sam_hc_callback_register", callback},
	{"sam_start", start},
	{"sam_hc_send", hc_send},
	{"sam_data_store", store},
	{"sam_data_getsize", getsize},
	{"sam_data_restore", restore},
	{"sam_warn_signal_set", warn},
	{"sam_mark_failed", mark_failed},
	{"sam_stop", stop},
	{"sam_finalize", finalize},
};

/* Makes the call with a cancellation pending. */
static void *make_one_call(void *call)
{
	pthread_cancel(pthread_self());
	((const struct call *)call)->make();
	returned = 1;
	pthread_testcancel();
	return NULL;
}

/* Repeats the call until the thread is cancelled asynchronously. */
static void *call_often(void *call)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	in_thread = 1;
	for (;;) {
		((const struct call *)call)->make();
	}
	return NULL;
}

/* Cancels a thread in a call, and waits for its end. */
static void cancel(const struct call *call, int asynchronous, int round)
{
	pthread_t thread;
	void *result = NULL;

	in_thread = returned = 0;
	if (pthread_create(&thread, NULL, asynchronous ? call_often : make_one_call, (void *)call) != 0) {
		observe("no thread: %s", strerror(errno));
		_exit(1);
	}
	if (asynchronous) {
		volatile int pause = round * 20;

		while (!in_thread) {
			sched_yield();
		}
		while (pause-- > 0) {
		}
		pthread_cancel(thread);
	}
	if (pthread_join(thread, &result) != 0) {
		observe("%s: the thread cannot be joined", call->name);
	} else if (asynchronous) {
		/* The thread has ended. Some C libraries do not always report PTHREAD_CANCELED here. */
	} else if (result != PTHREAD_CANCELED) {
		observe("%s: the thread was not cancelled", call->name);
	} else if (!returned) {
		observe("%s: cancelled inside the call", call->name);
	}
}

int main(int argc, char **argv)
{
	int asynchronous = argc > 1 && strcmp(argv[1], "asynchronous") == 0;
	size_t i;
	int round;

	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		const struct call *call = &calls[i];

		/* sam_register must return in a thread that lives on. An asynchronous cancellation may come before
		 * sam_initialize has begun, so call it here first. */
		if (call->make == register_instance) {
			MUST(sam_register(NULL));
			continue;
		}
		if (call->make == initialize && asynchronous) {
			MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
		}
		for (round = 0; round < (asynchronous ? ROUNDS : 1); round++) {
			cancel(call, asynchronous, round);
		}
		if (call->make == start) {
			(void)sam_start();
		}
	}
	/* No lock is held, and the session has ended. */
	observe("sam_data_store: %d", (int)sam_data_store("data", 5));
	observe("done");
	return 3;
}
