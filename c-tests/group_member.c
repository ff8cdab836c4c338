/* A supervised member of a process group (cpg) of the cluster. SIGUSR1 makes it hang. */
#include <corosync/cpg.h>
#include <corosync/sam.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t hang;

/* Prints <CLOCK_MONOTONIC in ms> <pid> <what> <number>. */
static void say(const char *what, long number)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("%lld %ld %s %ld\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, (long)getpid(), what, number);
	fflush(stdout);
}

static void must(int result, const char *what)
{
	if (result != CS_OK) {
		say(what, result);
		exit(1);
	}
}

static void on_usr1(int number)
{
	(void)number;
	hang = 1;
}

/* Prints the new members of the group. */
static void changed(cpg_handle_t handle, const struct cpg_name *group, const struct cpg_address *members, size_t count,
		    const struct cpg_address *left, size_t left_count, const struct cpg_address *joined,
		    size_t joined_count)
{
	char what[32];
	size_t i;

	(void)handle;
	(void)group;
	(void)left;
	(void)left_count;
	(void)joined;
	(void)joined_count;
	say("members", (long)count);
	for (i = 0; i < count; i++) {
		snprintf(what, sizeof(what), "member-%u", members[i].nodeid);
		say(what, (long)members[i].pid);
	}
}

int main(void)
{
	cpg_callbacks_t callbacks;
	struct cpg_name group;
	cpg_handle_t handle;
	unsigned int instance;
	int fd;

	memset(&callbacks, 0, sizeof(callbacks));
	callbacks.cpg_confchg_fn = changed;
	strcpy(group.value, "libsam");
	group.length = (unsigned int)strlen(group.value);

	must(sam_initialize(2000, SAM_RECOVERY_POLICY_QUORUM_RESTART), "sam_initialize");
	must(sam_register(&instance), "sam_register");
	signal(SIGUSR1, on_usr1);
	must(cpg_initialize(&handle, &callbacks), "cpg_initialize");
	must(cpg_fd_get(handle, &fd), "cpg_fd_get");
	must(sam_start(), "sam_start");
	must(cpg_join(handle, &group), "cpg_join");
	say("joined", (long)instance);
	for (;;) {
		struct pollfd news;

		news.fd = fd;
		news.events = POLLIN;
		if (poll(&news, 1, 100) > 0) {
			must(cpg_dispatch(handle, CS_DISPATCH_ALL), "cpg_dispatch");
		}
		if (hang) {
			say("hangs", 1);
			for (;;) {
				pause();
			}
		}
		must(sam_hc_send(), "sam_hc_send");
	}
}
