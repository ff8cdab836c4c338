/* Prints the code of every call in one state: codes STATE INTERVAL POLICY [stable]. STATE is one of U I R S P F, see
 * tests/codes.rs. `stable` leaves out the calls with a size that is larger than the buffer. */
#include "observe.h"

#include <limits.h>
#include <stdint.h>
#include <sys/resource.h>

static char data[64];
static size_t size;

static int healthy(void)
{
	return 0;
}

/* Removes the callback twice, and returns the code of the second call. */
static int callback_null_twice(void)
{
	sam_hc_callback_register(NULL);
	return (int)sam_hc_callback_register(NULL);
}

/* Tells whether the data stored before the call is unchanged, if this state lets the program read it. */
static const char *kept(void)
{
	char found[8] = "";

	switch (sam_data_restore(found, sizeof(found))) {
	case CS_OK:
		return strcmp(found, "keep") == 0 ? "kept" : "lost";
	default:
		return "closed";
	}
}

/* Stores and checks that the earlier data is not lost. */
static int store_and_look(const void *from, size_t length)
{
	int code = (int)sam_data_store(from, length);

	if (strcmp(kept(), "lost") == 0) {
		observe("data lost");
	}
	return code;
}

/* Leaves the process 1 GiB of address space. On a 32-bit architecture a store of 2 GiB might find room otherwise. */
static void limit_space(void)
{
	struct rlimit limit = {1 << 30, 1 << 30};

	if (sizeof(size_t) == 4 && setrlimit(RLIMIT_AS, &limit) != 0) {
		observe("cannot limit the address space");
	}
}

struct call {
	const char *name;
	int with_callback; /* a callback is registered first, which needs an interval */
	int (*make)(void);
};

#define CALL(function, expression)        \
	static int function(void)         \
	{                                 \
		return (int)(expression); \
	}
CALL(initialize_quit, sam_initialize(1000, SAM_RECOVERY_POLICY_QUIT))
CALL(initialize_restart, sam_initialize(0, SAM_RECOVERY_POLICY_RESTART))
CALL(initialize_negative, sam_initialize(-1, SAM_RECOVERY_POLICY_RESTART))
CALL(initialize_shortest, sam_initialize(INT_MIN, SAM_RECOVERY_POLICY_QUIT))
CALL(initialize_longest, sam_initialize(INT_MAX, SAM_RECOVERY_POLICY_QUIT))
CALL(initialize_0, sam_initialize(1000, (sam_recovery_policy_t)0))
CALL(initialize_3, sam_initialize(1000, (sam_recovery_policy_t)3))
CALL(initialize_4, sam_initialize(1000, (sam_recovery_policy_t)4))
CALL(initialize_5, sam_initialize(1000, (sam_recovery_policy_t)5))
CALL(initialize_quorum, sam_initialize(1000, SAM_RECOVERY_POLICY_QUORUM))
CALL(initialize_cmap, sam_initialize(1000, SAM_RECOVERY_POLICY_CMAP))
CALL(initialize_0b, sam_initialize(1000, (sam_recovery_policy_t)0x0b))
CALL(initialize_13, sam_initialize(1000, (sam_recovery_policy_t)0x13))
CALL(initialize_21, sam_initialize(1000, (sam_recovery_policy_t)0x21))
CALL(initialize_all, sam_initialize(1000, (sam_recovery_policy_t)-1))
CALL(register_instance, sam_register(&(unsigned int){0}))
CALL(register_null, sam_register(NULL))
CALL(start, sam_start())
CALL(stop, sam_stop())
CALL(hc_send, sam_hc_send())
CALL(callback, sam_hc_callback_register(healthy))
CALL(callback_null, sam_hc_callback_register(NULL))
CALL(mark_failed, sam_mark_failed())
CALL(finalize, sam_finalize())
CALL(getsize, sam_data_getsize(&size))
CALL(getsize_null, sam_data_getsize(NULL))
CALL(restore, sam_data_restore(data, sizeof(data)))
CALL(restore_exact, sam_data_restore(data, 5))
CALL(restore_small, sam_data_restore(data, 4))
CALL(restore_zero, sam_data_restore(data, 0))
CALL(restore_null, sam_data_restore(NULL, sizeof(data)))
CALL(restore_nothing, (sam_data_store(NULL, 0), sam_data_restore(data, 0)))
CALL(store, sam_data_store(data, sizeof(data)))
CALL(store_empty, sam_data_store(data, 0))
CALL(store_null, sam_data_store(NULL, 0))
CALL(store_null_sized, sam_data_store(NULL, 5))
CALL(store_beyond_memory, (limit_space(), store_and_look(data, SSIZE_MAX - 1)))
CALL(store_ssize_max, store_and_look(data, SSIZE_MAX))
CALL(store_size_max, store_and_look(data, SIZE_MAX))
CALL(warn_usr1, sam_warn_signal_set(SIGUSR1))
CALL(warn_last, sam_warn_signal_set(SIGRTMAX))
CALL(warn_none, sam_warn_signal_set(0))
CALL(warn_negative, sam_warn_signal_set(-1))
CALL(warn_lowest, sam_warn_signal_set(INT_MIN))
CALL(warn_past_last, sam_warn_signal_set(SIGRTMAX + 1))
CALL(warn_highest, sam_warn_signal_set(INT_MAX))

static const struct call calls[] = {
	{"sam_initialize QUIT", 0, initialize_quit},
	{"sam_initialize RESTART", 0, initialize_restart},
	{"sam_initialize interval -1", 0, initialize_negative},
	{"sam_initialize interval INT_MIN", 0, initialize_shortest},
	{"sam_initialize interval INT_MAX", 0, initialize_longest},
	{"sam_initialize policy 0", 0, initialize_0},
	{"sam_initialize policy 3", 0, initialize_3},
	{"sam_initialize policy 4", 0, initialize_4},
	{"sam_initialize policy 5", 0, initialize_5},
	{"sam_initialize policy QUORUM alone", 0, initialize_quorum},
	{"sam_initialize policy CMAP alone", 0, initialize_cmap},
	{"sam_initialize policy 0x0b", 0, initialize_0b},
	{"sam_initialize policy 0x13", 0, initialize_13},
	{"sam_initialize policy 0x21", 0, initialize_21},
	{"sam_initialize policy -1", 0, initialize_all},
	{"sam_register", 0, register_instance},
	{"sam_register NULL", 0, register_null},
	{"sam_start", 0, start},
	{"sam_stop", 0, stop},
	{"sam_hc_send", 0, hc_send},
	{"sam_hc_callback_register", 0, callback},
	{"sam_hc_callback_register again", 1, callback},
	{"sam_hc_callback_register NULL", 0, callback_null},
	{"sam_hc_callback_register NULL after one", 1, callback_null},
	{"sam_hc_callback_register NULL twice", 0, callback_null_twice},
	{"sam_hc_callback_register NULL twice after one", 1, callback_null_twice},
	{"sam_hc_send with a callback", 1, hc_send},
	{"sam_mark_failed", 0, mark_failed},
	{"sam_finalize", 0, finalize},
	{"sam_data_getsize", 0, getsize},
	{"sam_data_getsize NULL", 0, getsize_null},
	{"sam_data_restore", 0, restore},
	{"sam_data_restore exact", 0, restore_exact},
	{"sam_data_restore too small", 0, restore_small},
	{"sam_data_restore size 0", 0, restore_zero},
	{"sam_data_restore NULL", 0, restore_null},
	{"sam_data_restore nothing stored", 0, restore_nothing},
	{"sam_data_store", 0, store},
	{"sam_data_store size 0", 0, store_empty},
	{"sam_data_store NULL", 0, store_null},
	{"sam_data_store NULL with a size", 0, store_null_sized},
	{"sam_data_store beyond memory", 0, store_beyond_memory},
	{"sam_data_store SSIZE_MAX", 0, store_ssize_max},
	{"sam_data_store SIZE_MAX", 0, store_size_max},
	{"sam_warn_signal_set SIGUSR1", 0, warn_usr1},
	{"sam_warn_signal_set last", 0, warn_last},
	{"sam_warn_signal_set 0", 0, warn_none},
	{"sam_warn_signal_set -1", 0, warn_negative},
	{"sam_warn_signal_set INT_MIN", 0, warn_lowest},
	{"sam_warn_signal_set past the last", 0, warn_past_last},
	{"sam_warn_signal_set INT_MAX", 0, warn_highest},
};

static int is_larger_than_the_buffer(const struct call *call)
{
	return call->make == store_beyond_memory || call->make == store_ssize_max || call->make == store_size_max;
}

/* Brings the session into a state. */
static void reach(char state, int interval_ms, sam_recovery_policy_t policy, int with_callback)
{
	unsigned int instance;

	if (state == 'U') {
		return;
	}
	MUST(sam_initialize(interval_ms, policy));
	MUST(sam_data_store("keep", 5));
	if (state == 'I') {
		return;
	}
	MUST(sam_register(&instance));
	if (instance != 1) {
		observe("restarted");
		give_up();
	}
	if (with_callback) {
		MUST(sam_hc_callback_register(healthy));
	}
	if (state == 'R') {
		return;
	}
	MUST(sam_start());
	if (state == 'P') {
		MUST(sam_stop());
	}
	if (state == 'F') {
		MUST(sam_finalize());
	}
}

int main(int argc, char **argv)
{
	char state;
	int interval_ms;
	sam_recovery_policy_t policy;
	size_t i;

	if (argc != 4 && argc != 5) {
		return 2;
	}
	state = argv[1][0];
	interval_ms = atoi(argv[2]);
	policy = strcmp(argv[3], "QUIT") == 0 ? SAM_RECOVERY_POLICY_QUIT : SAM_RECOVERY_POLICY_RESTART;

	/* A process can have one session only, so each call gets a process of its own. */
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int status;
		pid_t child;

		if (calls[i].with_callback && interval_ms == 0) {
			continue;
		}
		if (argc == 5 && is_larger_than_the_buffer(&calls[i])) {
			continue;
		}
		child = fork();
		if (child == 0) {
			reach(state, interval_ms, policy, calls[i].with_callback);
			observe("%s: %d", calls[i].name, calls[i].make());
			sam_finalize();
			_exit(0);
		}
		if (waitpid(child, &status, 0) != child || status != 0) {
			observe("! %s", calls[i].name); /* the call returned, but its process did not end normally */
		}
	}
	return 0;
}
