/*
 * A warning handler that saves state.
 *
 * Silence for longer than the interval leads to the warning signal, by default SIGTERM, and one interval later to
 * SIGKILL. In between, the handler can save what the next instance needs. It may call every function of the library.
 *
 * The handler may interrupt the program in the middle of a change. So the program changes one copy and then switches an
 * index, and the handler stores the other copy, which is consistent.
 */
#include <corosync/sam.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct account {
    long credit;
    long debit;                                 /* always equal to credit */
};

static struct account accounts[2];
static volatile sig_atomic_t whole;             /* the index of the consistent copy */

static void save(int signal)
{
    static const char text[] = "warned: saves\n";

    (void)signal;
    sam_data_store(&accounts[whole], sizeof(accounts[0]));
    (void)!write(STDOUT_FILENO, text, sizeof(text) - 1);
    /* Returns to the interrupted code. If the program continues, it sends a heartbeat and is not killed. */
}

int main(void)
{
    struct sigaction action = {0};
    unsigned int instance;
    int step;

    if (sam_initialize(1000, SAM_RECOVERY_POLICY_RESTART) != CS_OK || sam_warn_signal_set(SIGUSR1) != CS_OK)
        return EXIT_FAILURE;
    action.sa_handler = save;
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, NULL);
    if (sam_register(&instance) != CS_OK)
        return EXIT_FAILURE;
    setvbuf(stdout, NULL, _IOLBF, 0);

    /* If nothing is stored, this leaves the account as it is. */
    if (sam_data_restore(&accounts[0], sizeof(accounts[0])) != CS_OK || sam_start() != CS_OK)
        return EXIT_FAILURE;
    printf("instance %u: credit %ld, debit %ld\n", instance, accounts[0].credit, accounts[0].debit);

    for (step = 0; step < 4; step++) {
        int other = !whole;

        accounts[other].credit = accounts[whole].credit + 10;
        if (step == 2 && instance == 1)
            for (;;)                            /* hangs in the middle of a change */
                pause();
        accounts[other].debit = accounts[whole].debit + 10;
        atomic_signal_fence(memory_order_release); /* the handler sees the new index after the changes */
        whole = other;
        sam_hc_send();
    }

    sam_stop();
    printf("instance %u: credit %ld, debit %ld\n", instance, accounts[whole].credit, accounts[whole].debit);
    return EXIT_SUCCESS;
}
