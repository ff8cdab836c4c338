/*
 * The smallest supervised daemon: it is restarted when it dies, or is silent for two seconds.
 *
 *     cc $(pkg-config --cflags libsam) daemon.c $(pkg-config --libs libsam) -o daemon && ./daemon
 *
 * Then find its instance with pgrep, and kill it, or stop it with kill -STOP. SIGTERM to the supervisor, the process
 * that you started, ends both.
 *
 * `daemon N` works N times and ends. Its first instance crashes on the way.
 */
#include <corosync/sam.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int times = argc > 1 ? atoi(argv[1]) : 0;
    int worked;
    unsigned int instance;

    if (sam_initialize(2000 /* ms */, SAM_RECOVERY_POLICY_RESTART) != CS_OK || sam_register(&instance) != CS_OK) {
        fprintf(stderr, "daemon: cannot be supervised\n");
        return EXIT_FAILURE;
    }

    /* From here on this process is an instance: a child of the process that you started. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("instance %u works\n", instance);
    if (sam_start() != CS_OK)
        return EXIT_FAILURE;

    for (worked = 0; times == 0 || worked < times; worked++) {
        poll(NULL, 0, 100);                     /* work */
        sam_hc_send();                          /* heartbeat */
        if (times != 0 && instance == 1)
            raise(SIGSEGV);
    }

    /* Without sam_stop, any exit counts as a failure. */
    sam_stop();
    printf("instance %u is done\n", instance);
    return EXIT_SUCCESS;
}
