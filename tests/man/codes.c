/*
 * Drives every function through the states of a session and prints what each call returned, one
 * "function code" per line. The argument names the session to play.
 */
#include <corosync/sam.h>

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PRINT(function, arguments) \
    (printf(#function " %d\n", (int)function arguments), fflush(stdout))

enum state { UNINITIALIZED, INITIALIZED, REGISTERED, STARTED, STOPPED, FINALIZED };

static int healthy(void)
{
    return 0;
}

/* Every call that leaves the session in its state, with good arguments and with bad ones. */
static void calls_in(enum state state)
{
    char data[100] = "data";
    size_t size;

    PRINT(sam_initialize, (1000, (sam_recovery_policy_t)0));
    if (state != UNINITIALIZED)
        PRINT(sam_initialize, (1000, SAM_RECOVERY_POLICY_RESTART));
    if (state != INITIALIZED)
        PRINT(sam_register, (NULL));
    if (state != REGISTERED && state != STOPPED)
        PRINT(sam_start, ());
    if (state != STARTED)
        PRINT(sam_stop, ());
    if (state == UNINITIALIZED || state == FINALIZED)
        PRINT(sam_finalize, ());

    PRINT(sam_hc_send, ());
    PRINT(sam_hc_callback_register, (NULL));
    PRINT(sam_hc_callback_register, (healthy));
    PRINT(sam_hc_callback_register, (NULL));
    PRINT(sam_warn_signal_set, (SIGUSR1));
    PRINT(sam_warn_signal_set, (0));
    PRINT(sam_warn_signal_set, (-1));
    PRINT(sam_warn_signal_set, (1000));

    PRINT(sam_data_store, (data, sizeof(data)));
    PRINT(sam_data_store, (data, (size_t)1 << 50));
    PRINT(sam_data_store, (data, SSIZE_MAX));
    PRINT(sam_data_store, (data, SIZE_MAX));
    PRINT(sam_data_getsize, (&size));
    PRINT(sam_data_getsize, (NULL));
    PRINT(sam_data_restore, (data, sizeof(data)));
    PRINT(sam_data_restore, (data, 1));
    PRINT(sam_data_restore, (NULL, sizeof(data)));
    PRINT(sam_data_store, (NULL, 1));

    PRINT(sam_mark_failed, ());
}

static void life(int interval)
{
    calls_in(UNINITIALIZED);
    PRINT(sam_initialize, (interval, SAM_RECOVERY_POLICY_QUIT));
    calls_in(INITIALIZED);
    PRINT(sam_register, (NULL));
    calls_in(REGISTERED);
    PRINT(sam_start, ());
    calls_in(STARTED);
    PRINT(sam_stop, ());
    calls_in(STOPPED);
    PRINT(sam_finalize, ());
    calls_in(FINALIZED);
}

/* The supervisor is killed; the instance, which ignores SIGTERM, goes on. */
static void orphan(int start)
{
    pid_t supervisor = getpid();

    signal(SIGTERM, SIG_IGN);
    PRINT(sam_initialize, (0, SAM_RECOVERY_POLICY_RESTART));
    PRINT(sam_register, (NULL));
    if (start)
        PRINT(sam_start, ());
    kill(supervisor, SIGKILL);
    while (getppid() == supervisor)
        poll(NULL, 0, 1);
    calls_in(start ? STARTED : REGISTERED);
    if (start)
        PRINT(sam_stop, ());
    else
        PRINT(sam_start, ());
    PRINT(sam_finalize, ());
}

/* Quorum and cmap, whether corosync runs or not; the session ends before it is registered. */
static void corosync(void)
{
    PRINT(sam_initialize, (1000, SAM_RECOVERY_POLICY_QUORUM_QUIT));
    PRINT(sam_finalize, ());
}

static void limit_memory(rlim_t size)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) != 0)
        exit(2);
    limit.rlim_cur = size;
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        exit(2);
}

/* At every step there is no address space left for what the call needs. */
static void crowded(void)
{
    static char data[100000];
    unsigned int instance;
    size_t size;

    free(malloc(64 * 1024)); /* what the heap has is not taken away */
    limit_memory(1);
    PRINT(sam_initialize, (0, SAM_RECOVERY_POLICY_RESTART));
    limit_memory(RLIM_INFINITY);
    PRINT(sam_initialize, (0, SAM_RECOVERY_POLICY_RESTART));

    limit_memory(1);
    PRINT(sam_data_store, (data, sizeof(data)));
    PRINT(sam_register, (NULL));
    limit_memory(RLIM_INFINITY);
    PRINT(sam_register, (&instance));

    if (instance == 1) {
        PRINT(sam_data_store, (data, sizeof(data)));
        PRINT(sam_start, ());
        _exit(1);
    }
    limit_memory(1);
    PRINT(sam_data_getsize, (&size));
    PRINT(sam_data_restore, (data, sizeof(data)));
}

/* The program closes every descriptor that it does not know, before it has looked at its data. */
static void closed(void)
{
    static char data[100000];
    unsigned int instance;
    size_t size;
    int i;

    PRINT(sam_initialize, (0, SAM_RECOVERY_POLICY_RESTART));
    PRINT(sam_register, (&instance));
    if (instance == 1) {
        PRINT(sam_data_store, (data, sizeof(data)));
        PRINT(sam_start, ());
        _exit(1);
    }
    for (i = 3; i < 1024; i++)
        close(i);
    PRINT(sam_data_getsize, (&size));
    PRINT(sam_data_restore, (data, sizeof(data)));
}

int main(int argc, char **argv)
{
    const char *session = argc > 1 ? argv[1] : "";

    if (strcmp(session, "life") == 0)
        life(60000);
    else if (strcmp(session, "life-without-interval") == 0)
        life(0);
    else if (strcmp(session, "orphan") == 0)
        orphan(0);
    else if (strcmp(session, "orphan-started") == 0)
        orphan(1);
    else if (strcmp(session, "corosync") == 0)
        corosync();
    else if (strcmp(session, "crowded") == 0)
        crowded();
    else if (strcmp(session, "closed") == 0)
        closed();
    else
        return 2;
    puts("end");
    return 0;
}
