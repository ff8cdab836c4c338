/*
 * Quorum gating: works only in a partition of the cluster that is quorate.
 *
 * sam_start blocks until it is. When quorum is lost the instance is warned at once and killed one interval later; the
 * next one waits in sam_start. corosync being down counts as quorum lost, except at sam_initialize, which fails then.
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
    printf("instance %u works\n", instance);        /* on what only one partition may touch */
    for (step = 0; step < 5; step++) {
        poll(NULL, 0, 100);
        sam_hc_send();
    }

    sam_stop();
    return EXIT_SUCCESS;
}
