/*
 * Event-driven health checks around a poll loop.
 *
 * The library calls `healthy` about once per interval, from a thread of its own, and sends the heartbeats. That thread
 * would run even if the loop hung. So the loop counts its turns, and the callback checks that the count has changed.
 *
 * Here the loop serves a pipe. The first instance hangs on a message, the second one does not.
 */
#include <corosync/sam.h>

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INTERVAL 1000                           /* ms */

static atomic_uint turns;                       /* turns of the loop */

/* Called about once per interval: 0 means healthy, anything else starts the recovery at once. */
static int healthy(void)
{
    static unsigned int seen;                   /* at the last call; used by one thread only */
    unsigned int now = atomic_load(&turns);
    int stuck = now == seen;

    seen = now;
    return stuck;
}

int main(void)
{
    const char *messages[] = {"hello", "hang", "quit"};
    char text[16];
    unsigned int instance;
    size_t next;
    int running = 1;
    int ends[2];

    if (sam_initialize(INTERVAL, SAM_RECOVERY_POLICY_RESTART) != CS_OK || sam_register(&instance) != CS_OK)
        return EXIT_FAILURE;
    setvbuf(stdout, NULL, _IOLBF, 0);

    /* Opened in the instance, so that each instance has its own pipe. */
    if (pipe(ends) != 0)
        return EXIT_FAILURE;
    for (next = 0; next < 3; next++) {
        memset(text, 0, sizeof(text));
        strcpy(text, messages[next]);
        if (write(ends[1], text, sizeof(text)) != (ssize_t)sizeof(text))
            return EXIT_FAILURE;
    }

    if (sam_hc_callback_register(healthy) != CS_OK || sam_start() != CS_OK)
        return EXIT_FAILURE;

    while (running) {
        struct pollfd wanted = {ends[0], POLLIN, 0};

        /* At least three turns per interval, also without messages. */
        if (poll(&wanted, 1, INTERVAL / 3) < 0)
            return EXIT_FAILURE;
        atomic_fetch_add(&turns, 1);
        if (!(wanted.revents & POLLIN) || read(ends[0], text, sizeof(text)) != (ssize_t)sizeof(text))
            continue;
        printf("instance %u: %s\n", instance, text);
        if (strcmp(text, "hang") == 0 && instance == 1)
            for (;;)
                pause();
        running = strcmp(text, "quit") != 0;
    }

    sam_stop();
    return EXIT_SUCCESS;
}
