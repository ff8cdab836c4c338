/* An instance writes garbage over all memory shared with its supervisor, then falls silent: scribble
 * zeros|ones|random|future0..future3 leave|restart. With restart it calls sam_stop and sam_start in between. */
#include "observe.h"

#include <inttypes.h>
#include <stdint.h>

#define INTERVAL_MS 1500
#define MAPPINGS 16

/* Returns the next word of a pattern. */
static uint64_t word(const char *pattern)
{
	static uint64_t random;
	uint64_t in_an_hour = ((uint64_t)now_ms() + 3600000) * 1000000;

	if (strcmp(pattern, "zeros") == 0) {
		return 0;
	}
	if (strcmp(pattern, "ones") == 0) {
		return UINT64_MAX;
	}
	if (strcmp(pattern, "random") == 0) {
		if (random == 0) {
			random = in_an_hour;
			observe("# seed %" PRIu64, random);
		}
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		return random;
	}
	/* a time in the future, with any of the flags that the lowest bits may be */
	return in_an_hour << 2 | (uint64_t)(pattern[strlen(pattern) - 1] - '0');
}

/* Writes the pattern over all shared mappings. Returns their number. */
static int scribble(const char *pattern)
{
	uint64_t *start[MAPPINGS], *end[MAPPINGS], *at;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	int count = 0, i;

	while (maps != NULL && count < MAPPINGS && fgets(line, sizeof(line), maps) != NULL) {
		uintptr_t from, to;
		char access[5];

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to, access) == 3 &&
		    strcmp(access, "rw-s") == 0 && (strstr(line, "/dev/zero") || strstr(line, "/memfd:"))) {
			start[count] = (uint64_t *)from;
			end[count++] = (uint64_t *)to;
		}
	}
	fclose(maps);
	for (i = 0; i < count; i++) {
		for (at = start[i]; at < end[i]; at++) {
			*at = word(pattern);
		}
	}
	return count;
}

static long supervisor_ms(void)
{
	long ms = processor_ms(getppid());

	if (ms < 0) {
		observe("cannot read the processor time of the supervisor");
	}
	return ms;
}

int main(int argc, char **argv)
{
	static char data[4096];
	unsigned int instance;
	size_t size = 0;
	long before_ms;

	if (argc != 3) {
		return 2;
	}
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_data_store("data", 5));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		observe("# sam_data_getsize %d", (int)sam_data_getsize(&size));
		observe("# %" PRIu64 " bytes", (uint64_t)size);
		observe("# sam_data_restore %d", (int)sam_data_restore(data, sizeof(data)));
		MUST(sam_data_store("new", 4));
		MUST(sam_data_restore(data, sizeof(data)));
		observe("%s data", data);
		return 0;
	}
	MUST(sam_start());
	if (scribble(argv[1]) == 0) {
		observe("no shared memory");
		give_up();
	}
	if (strcmp(argv[2], "restart") == 0) {
		/* Both calls may return CS_ERR_LIBRARY, because the garbage may mean that the supervisor has ended. */
		observe("# sam_stop %d", (int)sam_stop());
		observe("# sam_start %d", (int)sam_start());
	}
	observe("scribbled");
	before_ms = supervisor_ms();
	sleep_ms(6 * INTERVAL_MS);
	observe("not killed, supervisor %s", supervisor_ms() - before_ms > 3 * INTERVAL_MS ? "busy" : "idle");
	raise(SIGKILL);
	return 98;
}
