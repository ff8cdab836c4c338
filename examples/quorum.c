/*
 * Quorum gating: the program works only in a quorate partition of the cluster.
 *
 * sam_start blocks until the partition is quorate. When quorum is lost, the instance is warned at once and killed one
 * interval later. The next instance waits in sam_start. If corosync stops, that counts as quorum loss. If corosync does
 * not run at sam_initialize, the call fails.
 */
#include <corosync/sam.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    cs_error_t error;
    unsigned int instance;
    int step;

    error = sam_initialize(1000, SAM_RECOVERY_POLICY_QUORUM_RESTART);
    if (error == CS_ERR_NOT_SUPPORTED) {
        fprintf(stderr, "quorum: corosync's libquorum is not installed\n");
        return EXIT_FAILURE;
    }
    if (error != CS_OK) {
        fprintf(stderr, "quorum: corosync cannot be reached (error %d)\n", (int)error);
        return EXIT_FAILURE;
    }
    if (sam_register(&instance) != CS_OK)
        return EXIT_FAILURE;
    setvbuf(stdout, NULL, _IOLBF, 0);

    printf("instance %u waits for quorum\n", instance);
    if (sam_start() != CS_OK)
        return EXIT_FAILURE;
    printf("instance %u works\n", instance);        /* on data that only one partition may change */
    for (step = 0; step < 5; step++) {
        poll(NULL, 0, 100);
        sam_hc_send();
    }

    sam_stop();
    return EXIT_SUCCESS;
}
