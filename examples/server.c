/*
 * A server that survives crashes and hangs. docs/writing.md explains it step by step.
 *
 * It keeps a sum. Each line of a client is a command:
 *
 *     add N       adds N, and answers the sum
 *     crash       ends the instance by a crash
 *     hang        makes the instance hang
 *
 * The listening socket is opened before sam_register, so it outlives every instance: no client is refused, not even
 * during a restart. The sum is stored before a client sees it, so the next instance goes on with it.
 *
 * A client that gets no answer does not know whether its number was added. If that matters, see "Data" in the guide.
 */
#define _GNU_SOURCE 1                           /* for accept4 */

#include <corosync/sam.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define INTERVAL 2000                           /* ms: longer than any command takes */
#define MAX_CLIENTS 64

static unsigned int instance;
static long sum;
static atomic_bool stopping;
static int wakeup;                              /* an eventfd that ends a poll of the main thread */

/* Opens the listening socket. Port 0 means any free port. Returns -1 on error. */
static int listen_on(unsigned short port)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof(address);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return -1;
    printf("port %d\n", ntohs(address.sin_port));
    return fd;
}

/* The thread that takes signals. They are blocked in all threads, so no handler interrupts anything. */
static void *take_signals(void *arg)
{
    const sigset_t *signals = arg;
    int signal;

    while (sigwait(signals, &signal) == 0) {
        if (signal == SIGUSR1) {
            /* The warning: the main thread has hung for one interval. A core file shows where. */
            fprintf(stderr, "instance %u hangs\n", instance);
            abort();
        }
        /* A request to stop. The main thread finishes its work. Do not call sam_stop here: if the main thread hangs,
           nothing would end the program. */
        atomic_store(&stopping, true);
        eventfd_write(wakeup, 1);
    }
    return NULL;
}

/* Carries out the command of a client. Returns 0 if the connection is to be closed. */
static int serve(int client)
{
    char line[64];
    char answer[64];
    ssize_t length = recv(client, line, sizeof(line) - 1, 0);
    long number;

    if (length <= 0)
        return 0;
    line[length] = '\0';
    if (strncmp(line, "crash", 5) == 0)
        abort();
    if (strncmp(line, "hang", 4) == 0)
        for (;;)
            pause();
    if (sscanf(line, "add %ld", &number) != 1)
        return 0;
    sum += number;
    /* First store, then answer: what a client has seen survives. Without MSG_NOSIGNAL, a client that has gone would end
       the instance by SIGPIPE. */
    if (sam_data_store(&sum, sizeof(sum)) != CS_OK)
        return 0;
    length = snprintf(answer, sizeof(answer), "%ld\n", sum);
    return send(client, answer, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) == length;
}

/* Serves clients until the program is told to stop, or the supervisor has died. */
static void serve_all(int listener)
{
    struct pollfd fds[2 + MAX_CLIENTS] = {{listener, POLLIN, 0}, {wakeup, POLLIN, 0}};
    nfds_t used = 2;
    nfds_t i;

    /* A heartbeat per turn, at least four per interval. Each turn shows that the loop works. The call fails if the
       supervisor has died. Nobody restarts the program then, so it ends. */
    while (!atomic_load(&stopping) && sam_hc_send() == CS_OK) {
        fds[0].events = used < 2 + MAX_CLIENTS ? POLLIN : 0;
        if (poll(fds, used, INTERVAL / 4) < 0)
            continue;
        for (i = used; i-- > 2;) {
            if (fds[i].revents != 0 && !serve(fds[i].fd)) {
                close(fds[i].fd);
                fds[i] = fds[--used];
            }
        }
        if (fds[0].revents & POLLIN) {
            /* Non-blocking, because a wait for a slow client would be silence. */
            int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

            if (client >= 0)
                fds[used++] = (struct pollfd){client, POLLIN, 0};
        }
    }
}

int main(int argc, char *argv[])
{
    unsigned short port = argc > 1 ? (unsigned short)atoi(argv[1]) : 0;
    pthread_t thread;
    sigset_t signals;
    int listener;

    /* Each line is written at once. No instance inherits one in its buffer and writes it again. */
    setvbuf(stdout, NULL, _IOLBF, 0);

    /* 1. What every instance is to have: the listening socket and the signal mask. No thread yet. */
    listener = listen_on(port);
    if (listener < 0) {
        perror("cannot listen");
        return EXIT_FAILURE;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR1);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    /* 2. From here on, each instance runs. SIGTERM means "stop" here, so the warning is another signal. */
    if (sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART) != CS_OK || sam_warn_signal_set(SIGUSR1) != CS_OK ||
        sam_register(&instance) != CS_OK) {
        fprintf(stderr, "cannot be supervised\n");
        return EXIT_FAILURE;
    }

    /* 3. What each instance makes for itself: its data, its descriptors, its threads. */
    wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wakeup < 0 || sam_data_restore(&sum, sizeof(sum)) != CS_OK ||
        pthread_create(&thread, NULL, take_signals, &signals) != 0)
        return EXIT_FAILURE;

    /* 4. Ready: from here on, a crash or a hang leads to a restart. */
    if (sam_start() != CS_OK)
        return EXIT_FAILURE;
    printf("instance %u serves, sum %ld\n", instance, sum);
    serve_all(listener);

    /* 5. A planned end: health checking stops, so no restart follows. If the supervisor has died, the call fails. */
    printf("instance %u stops\n", instance);
    return sam_stop() == CS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
