/* A small daemon that counts requests on a TCP port of the loopback interface. It is supervised, so its counter and its
 * port survive a crash and a hang.
 *
 * A connection carries one request: "count", "crash", "hang" (without end) or "doze" (until the warning). */
#include <corosync/sam.h>

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t end_wanted, warned;

static void on_term(int number)
{
    (void)number;
    end_wanted = 1;
}

static void on_warning(int number)
{
    static const char text[] = "warned\n";
    (void)number;
    warned = 1;
    if (write(STDOUT_FILENO, text, sizeof text - 1) < 0)
        end_wanted = 1;
}

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

static int listen_on_loopback(void)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(listener >= 0, "socket");
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(bind(listener, (struct sockaddr *)&address, length) == 0, "bind");
    must(listen(listener, 16) == 0, "listen");
    must(getsockname(listener, (struct sockaddr *)&address, &length) == 0, "getsockname");
    printf("port %d\n", ntohs(address.sin_port));
    return listener;
}

static void serve(int client, unsigned int instance)
{
    char request[16] = "", answer[64];
    unsigned long count = 0;
    ssize_t length = read(client, request, sizeof request - 1);

    if (length <= 0)
        return;
    request[strcspn(request, "\r\n")] = '\0';
    must(sam_data_restore(&count, sizeof count) == CS_OK, "sam_data_restore");
    if (strcmp(request, "count") == 0) {
        count++;
        must(sam_data_store(&count, sizeof count) == CS_OK, "sam_data_store");
    } else if (strcmp(request, "crash") == 0) {
        raise(SIGSEGV);
    } else if (strcmp(request, "hang") == 0) {
        for (;;)
            pause();
    } else if (strcmp(request, "doze") == 0) {
        warned = 0;
        while (!warned)
            usleep(1000);
        sam_hc_send();
    }
    length = snprintf(answer, sizeof answer, "%lu %u %d\n", count, instance, (int)getpid());
    if (write(client, answer, (size_t)length) != length)
        perror("write");
}

int main(void)
{
    unsigned int instance;
    struct pollfd wait;

    setvbuf(stdout, NULL, _IOLBF, 0);
    must(sam_initialize(500, SAM_RECOVERY_POLICY_RESTART) == CS_OK, "sam_initialize");
    must(sam_warn_signal_set(SIGUSR1) == CS_OK, "sam_warn_signal_set");
    wait.fd = listen_on_loopback(); /* before the fork, so the supervisor keeps it open */
    wait.events = POLLIN;
    must(sam_register(&instance) == CS_OK, "sam_register");

    /* From here on this process is an instance, the first or a later one. */
    signal(SIGTERM, on_term);
    signal(SIGUSR1, on_warning);
    must(sam_start() == CS_OK, "sam_start");
    while (!end_wanted) {
        sam_hc_send();
        if (poll(&wait, 1, 100) == 1) {
            int client = accept(wait.fd, NULL, NULL);

            if (client >= 0) {
                serve(client, instance);
                close(client);
            }
        }
    }
    sam_stop();
    return EXIT_SUCCESS;
}
