/* Calls every function in every state of a session, and prints "function code" for each call. The argument names the
 * session. */
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

#define PRINT(function, arguments) (printf(#function " %d\n", (int)function arguments), fflush(stdout))

enum state { UNINITIALIZED, INITIALIZED, REGISTERED, STARTED, STOPPED, FINALIZED };

static int healthy(void)
{
    return 0;
}

/* Leaves the process 1 GiB of address space. On a 32-bit architecture a store of 2 GiB might find room otherwise. */
static void limit_space(void)
{
    struct rlimit limit = {1 << 30, 1 << 30};

    if (sizeof(size_t) == 4 && setrlimit(RLIMIT_AS, &limit) != 0)
        perror("setrlimit");
}

/* Makes every call that leaves the session in its state, with valid and with invalid arguments. */
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
    limit_space();
    PRINT(sam_data_store, (data, SSIZE_MAX - 1));
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

/* Calls the functions after the supervisor was killed. The instance ignores SIGTERM, so it survives. */
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

/* Starts a session with quorum and cmap, whether corosync runs or not. The session ends before sam_register. */
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

/* Makes each call without the address space that it needs. */
static void crowded(void)
{
    static char data[100000];
    unsigned int instance;
    size_t size;

    free(malloc(64 * 1024)); /* the heap keeps this memory, so stdio can use it under the limit */
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

/* Reads the data after the program has closed every descriptor that it did not open itself. */
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
