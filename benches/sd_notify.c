/* Measures a heartbeat by datagram, as under systemd: ns per call. Another process reads the datagrams, like the
 * service manager.
 * usage: sd_notify CALLS PAUSE_US */
#include "bench.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

static void receive(int socket_of_manager)
{
	char message[4096];

	while (recv(socket_of_manager, message, sizeof(message), 0) >= 0) {
	}
	_exit(1);
}

int main(int argc, char **argv)
{
	unsigned long calls = argument(argc, argv, 1);
	unsigned long pause = argument(argc, argv, 2) * 1000;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t length;
	char path[sizeof(address.sun_path) + 1];
	int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	pid_t receiver;

	MUST(manager >= 0);
	/* An abstract address leaves no file behind. */
	length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			     (size_t)snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "sam-bench-%d",
					      (int)getpid()));
	MUST(bind(manager, (struct sockaddr *)&address, length) == 0);
	snprintf(path, sizeof(path), "@%s", address.sun_path + 1);
	MUST(setenv("NOTIFY_SOCKET", path, 1) == 0);
	receiver = fork();
	MUST(receiver >= 0);
	if (receiver == 0) {
		receive(manager);
	}
	for (unsigned long call = 0; call < calls; call++) {
		uint64_t began;

		spin_until(now() + pause);
		began = now();
		MUST(sd_notify(0, "WATCHDOG=1") > 0);
		print((double)(now() - began));
	}
	kill(receiver, SIGKILL);
	return 0;
}
