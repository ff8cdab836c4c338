/*
 * The smallest supervised daemon: it is started again whenever it dies or falls silent for two seconds.
 *
 *     cc $(pkg-config --cflags libsam) daemon.c $(pkg-config --libs libsam) -o daemon && ./daemon
 *
 * Then look for its instance with pgrep, and kill or stop (kill -STOP) it. SIGTERM to the supervisor, which is the
 * process that was started, ends both.
 *
 * `daemon N` works N times and ends; the first instance crashes on the way.
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

    /* From here on this is an instance: a child of the process that was started. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("instance %u works\n", instance);
    if (sam_start() != CS_OK)
        return EXIT_FAILURE;

    for (worked = 0; times == 0 || worked < times; worked++) {
        poll(NULL, 0, 100);                     /* work */
        sam_hc_send();                          /* all is well */
        if (times != 0 && instance == 1)
            raise(SIGSEGV);
    }

    /* Without this, the end would count as a failure, whatever the exit status. */
    sam_stop();
    printf("instance %u is done\n", instance);
    return EXIT_SUCCESS;
}
