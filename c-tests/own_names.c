/* Defines functions with names of functions of the C library. */
#include <corosync/sam.h>

#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>

/* Names that the C standard leaves to the program. Names that a library must find in the C library are not among them:
 * memory, threads, fork, sigaction. */
#define NAMES(X) \
	X(accept) X(alarm) X(basename) X(bind) X(chdir) X(clock_nanosleep) X(clone) X(close) X(closedir) X(close_range) \
	X(connect) X(daemon) X(dirfd) X(dirname) X(dup) X(dup2) X(dup3) X(epoll_wait) X(err) X(error) \
	X(eventfd) X(execv) X(execve) X(fallocate) X(fallocate64) X(fchmod) X(fcntl) X(fcntl64) X(flock) X(fstat) \
	X(fstat64) X(fstatat) X(ftruncate) X(ftruncate64) X(futex) X(getauxval) X(getcwd) X(getegid) X(geteuid) \
	X(getgid) X(getpgid) X(getpgrp) X(getpid) X(getppid) X(getrandom) X(getrlimit) X(getsid) X(gettid) X(getuid) \
	X(index) X(ioctl) X(kill) X(killpg) X(link) X(listen) X(localtime_r) X(lseek) X(lseek64) X(lstat) \
	X(memfd_create) X(mkdir) X(mprotect) X(nanosleep) X(open) X(open64) X(openat) X(openat64) X(opendir) X(openlog) X(pause) \
	X(pidfd_open) X(pipe) X(pipe2) X(poll) X(ppoll) X(prctl) X(pread) X(pread64) X(prlimit) X(prlimit64) X(pwrite) \
	X(pwritev2) X(pwritev64v2) X(read) X(readdir) X(readdir64) X(readlink) X(readv) X(recv) X(recvfrom) X(recvmsg) \
	X(rindex) X(sched_yield) X(secure_getenv) X(select) X(send) X(sendmsg) X(sendto) X(setenv) \
	X(setitimer) X(setpgid) X(setrlimit) X(setrlimit64) X(setsid) X(setsockopt) X(shutdown) X(sigaddset) \
	X(sigemptyset) X(sigfillset) X(sigismember) X(signalfd) X(sigpending) X(sigprocmask) X(sigqueue) X(sigtimedwait) X(sigwait) \
	X(sleep) X(socket) X(socketpair) X(stat) X(stat64) X(statx) X(sync) X(sysconf) X(sysinfo) X(syslog) X(time) \
	X(times) X(timerfd_create) X(truncate) X(uname) X(unlink) X(usleep) X(vfork) X(wait) X(wait4) X(waitid) \
	X(waitpid) X(warn) X(write) X(writev)

extern long syscall(long number, ...);

static void say(const char *text)
{
	size_t length = 0;

	while (text[length] != '\0') {
		length++;
	}
	syscall(SYS_write, 1, text, length);
}

#define DEFINE(name)                                                              \
	__attribute__((used, visibility("default"))) void own_##name(void) __asm__(#name); \
	void own_##name(void)                                                     \
	{                                                                         \
		say("the program's " #name " was called\n");                      \
		syscall(SYS_exit_group, 97);                                      \
	}
NAMES(DEFINE)

static int must(cs_error_t code)
{
	if (code != CS_OK) {
		say("refused\n");
		syscall(SYS_exit_group, 98);
	}
	return 0;
}

static int check(void)
{
	return 0;
}

int main(int argc, char **argv)
{
	static char data[100000];
	char line[] = "instance 0\n";
	unsigned int instance;
	size_t size;

	(void)argv;
	must(sam_initialize(1500, SAM_RECOVERY_POLICY_RESTART));
	must(sam_register(&instance));
	line[9] = (char)('0' + instance);
	say(line);
	must(sam_warn_signal_set(SIGUSR2));
	must(sam_data_getsize(&size));
	must(sam_data_restore(data, sizeof(data)));
	must(sam_data_store(data, sizeof(data) / 4 * instance));
	if (instance == 3) {
		must(sam_hc_callback_register(check));
	}
	must(sam_start());
	must(sam_hc_send());
	switch (instance) {
	case 1:
		syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
		break;
	case 2: {
		long twenty_seconds[2] = {20, 0};

		syscall(SYS_nanosleep, twenty_seconds, NULL);
		say("the supervisor did not end the hang\n");
		break;
	}
	default: {
		long four_intervals[2] = {6, 0};

		syscall(SYS_nanosleep, four_intervals, NULL);
		say("alive after four intervals\n");
	}
	}
	must(sam_stop());
	return argc - 1;
}
