/* The library cannot allocate a copy of a setting: the call fails, and a later call succeeds. */
#include "observe.h"

#include <sys/resource.h>

#define NAME "SAM_RESTART_LIMIT="
#define LENGTH (64 << 20)

int main(void)
{
	char *variable = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct rlimit limit;
	rlim_t before;

	if (variable == MAP_FAILED) {
		return 2;
	}
	memset(variable, '1', LENGTH - 1);
	memcpy(variable, NAME, strlen(NAME));
	putenv(variable);

	getrlimit(RLIMIT_AS, &limit);
	before = limit.rlim_cur;
	limit.rlim_cur = LENGTH;
	setrlimit(RLIMIT_AS, &limit);
	observe("sam_initialize %d", sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));

	limit.rlim_cur = before;
	setrlimit(RLIMIT_AS, &limit);
	unsetenv("SAM_RESTART_LIMIT");
	observe("sam_initialize %d", sam_initialize(0, SAM_RECOVERY_POLICY_RESTART));
	return 0;
}
