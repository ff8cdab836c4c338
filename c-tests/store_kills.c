/* Kills instances inside sam_data_store at random moments, COUNT times: store_kills COUNT SEED. The next instance must
 * find the whole data of the last completed store, or of the store that was cut off. */
#include "observe.h"

#define LARGEST ((size_t)1 << 17)

static struct {
	uint64_t random;
	uint64_t stored, storing; /* versions; equal if no store was cut off */
	uint64_t kills, old, new, torn;
} *all;

static uint64_t data[LARGEST / sizeof(uint64_t)];

static uint64_t random_below(uint64_t limit)
{
	all->random = all->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (all->random >> 33) % limit;
}

static size_t size_of(uint64_t version)
{
	return (version * UINT64_C(2654435761) >> 7) % LARGEST + 1;
}

static void fill(uint64_t version)
{
	size_t i;

	for (i = 0; i * sizeof(data[0]) < size_of(version); i++) {
		data[i] = version << 32 ^ i;
	}
}

/* Returns true if the stored data is that of `version`. */
static int finds(uint64_t version)
{
	static char found[LARGEST];
	size_t size;

	MUST(sam_data_getsize(&size));
	if (size != size_of(version)) {
		return 0;
	}
	MUST(sam_data_restore(found, sizeof(found)));
	fill(version);
	return memcmp(found, data, size) == 0;
}

/* Sets a timer that kills this process within 0.4 ms. */
static void end_soon(void)
{
	struct itimerspec once;
	struct sigevent kill_me;
	timer_t timer;

	memset(&kill_me, 0, sizeof(kill_me));
	kill_me.sigev_notify = SIGEV_SIGNAL;
	kill_me.sigev_signo = SIGKILL;
	memset(&once, 0, sizeof(once));
	once.it_value.tv_nsec = (long)random_below(400000) + 1;
	if (timer_create(CLOCK_MONOTONIC, &kill_me, &timer) != 0 || timer_settime(timer, 0, &once, NULL) != 0) {
		give_up();
	}
}

int main(int argc, char **argv)
{
	uint64_t count;
	unsigned int instance;

	if (argc != 3) {
		return 2;
	}
	count = strtoul(argv[1], NULL, 10);
	all = shared_memory(sizeof(*all));
	all->random = strtoul(argv[2], NULL, 10);
	all->stored = all->storing = 1;
	fill(1);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_data_store(data, size_of(1)));
	MUST(sam_register(&instance));
	if (all->storing != all->stored) {
		all->kills++;
	}
	if (finds(all->stored)) {
		all->old += all->storing != all->stored;
	} else if (all->storing != all->stored && finds(all->storing)) {
		all->new++;
		all->stored = all->storing;
	} else {
		all->torn++;
		all->kills = count;
	}
	all->storing = all->stored;
	if (all->kills >= count) {
		observe("%lu killed inside sam_data_store, torn: %lu", all->kills, all->torn);
		observe("# old %lu", all->old);
		observe("# new %lu", all->new);
		observe("# instances %u", instance);
		return 0;
	}
	MUST(sam_start());
	end_soon();
	for (;;) {
		uint64_t version = all->stored + 1;

		fill(version);
		*(volatile uint64_t *)&all->storing = version;
		MUST(sam_data_store(data, size_of(version)));
		*(volatile uint64_t *)&all->stored = version;
	}
}
