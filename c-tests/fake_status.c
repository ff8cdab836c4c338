/* Has a file with the name of a status page among its descriptors, which is no status page:
 * fake_status fifo|device|file FOLDER: not a memory file. FOLDER is a mount point in a mount namespace of its own.
 * fake_status many COUNT: a memory file, opened COUNT times.
 * Prints "ready", and at the end of its input how often other processes have opened the file. */
#include "observe.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define NAME "memfd:sam-status (deleted)"

/* Makes the file on a file system that is then unmounted, so that its name is that of an unlinked memory file. */
static int make_fake(const char *kind, const char *folder, int events)
{
	char path[512], shown[512] = "";
	int fd, made;

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", folder, "tmpfs", 0, NULL) != 0) {
		leave_out("cannot make a mount namespace");
	}
	snprintf(path, sizeof(path), "%s/" NAME, folder);
	if (strcmp(kind, "fifo") == 0) {
		made = mkfifo(path, 0600);
	} else if (strcmp(kind, "device") == 0) {
		made = mknod(path, S_IFCHR | 0600, makedev(1, 3));
	} else {
		made = mknod(path, S_IFREG | 0600, 0);
	}
	if (made != 0) {
		leave_out("cannot make the file");
	}
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0 || inotify_add_watch(events, path, IN_OPEN | IN_CLOSE) < 0 || umount2(folder, MNT_DETACH) != 0) {
		leave_out("cannot unmount the file system of the file");
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, shown, sizeof(shown) - 1) < 0 || strcmp(shown, "/" NAME) != 0) {
		observe("the name is %s", shown);
		exit(1);
	}
	return fd;
}

/* Makes a memory file and duplicates its descriptor. */
static void make_many(int number, int events)
{
	char path[64];
	int fd = memfd_create("sam-status", MFD_CLOEXEC);

	sprintf(path, "/proc/self/fd/%d", fd);
	if (fd < 0 || ftruncate(fd, 4096) != 0 || inotify_add_watch(events, path, IN_OPEN | IN_CLOSE) < 0) {
		leave_out("cannot watch a memory file");
	}
	for (; number > 1; number--) {
		if (dup(fd) < 0) {
			leave_out("cannot open that many descriptors");
		}
	}
}

int main(int argc, char **argv)
{
	int events = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), opened = 0;
	char buffer[8192] __attribute__((aligned(8)));
	ssize_t length, at;

	if (argc != 3) {
		return 2;
	}
	if (strcmp(argv[1], "many") == 0) {
		make_many(atoi(argv[2]), events);
	} else {
		make_fake(argv[1], argv[2], events);
	}
	observe("ready");
	while (read(STDIN_FILENO, buffer, sizeof(buffer)) > 0) {
	}
	while ((length = read(events, buffer, sizeof(buffer))) > 0) {
		for (at = 0; at < length;) {
			const struct inotify_event *event = (const struct inotify_event *)(buffer + at);

			opened += (event->mask & IN_OPEN) != 0;
			at += (ssize_t)(sizeof(*event) + event->len);
		}
	}
	observe("opened %d times", opened);
	return 0;
}
