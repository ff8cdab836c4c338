/* Instances crash and hang while the socket of the syslog daemon is full and nobody reads it. */
#include "observe.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

#define INTERVAL_MS 300

static int write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	return file != NULL && fputs(text, file) >= 0 && fclose(file) == 0;
}

/* Makes an ordinary user root in a user namespace with its own mounts. */
static int become_root(void)
{
	char user[32], group[32];

	sprintf(user, "0 %ld 1\n", (long)geteuid());
	sprintf(group, "0 %ld 1\n", (long)getegid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_file("/proc/self/setgroups", "deny") &&
	       write_file("/proc/self/uid_map", user) && write_file("/proc/self/gid_map", group);
}

/* Makes a /dev/log that is full and is never read, visible to this process and its children only. */
static void fill_syslog(void)
{
	struct sockaddr_un address = {AF_UNIX, "/dev/log"};
	int log = socket(AF_UNIX, SOCK_DGRAM, 0);
	int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	if (unshare(CLONE_NEWNS) != 0 && !become_root()) {
		leave_out("cannot make a mount namespace");
	}
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("none", "/dev", "tmpfs", 0, NULL) != 0 ||
	    bind(log, (struct sockaddr *)&address, sizeof(address)) != 0) {
		leave_out("cannot mount a private /dev");
	}
	while (sendto(sender, "<29>full", 8, 0, (struct sockaddr *)&address, sizeof(address)) == 8) {
	}
	if (errno != EAGAIN) {
		leave_out("the socket did not become full");
	}
	close(sender);
}

int main(void)
{
	long *lost_at_ms = shared_memory(sizeof(*lost_at_ms));
	unsigned int instance;

	fill_syslog();
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	MUST(sam_register(&instance));
	if (instance > 1 && now_ms() - *lost_at_ms > 20 * INTERVAL_MS) {
		observe("instance %u came after %ld ms", instance, now_ms() - *lost_at_ms);
	}
	if (instance == 100) {
		observe("100 instances in time");
		return 0;
	}
	MUST(sam_start());
	*lost_at_ms = now_ms();
	if (instance == 50) {
		hang(); /* killed by its warning, SIGTERM */
	}
	raise(SIGKILL);
	return 98;
}
