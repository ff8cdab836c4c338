/*
 * State that survives restarts: sam_data_store keeps it outside of the instance, and the next instance reads what the
 * last completed store wrote. If an instance dies during a store, the earlier state is kept.
 *
 * The job counts letters. One word makes the program crash. If each restart began with that word, the program would
 * crash without end. So each step stores what it is about to do, and the next instance skips that step.
 */
#include <corosync/sam.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state {
    unsigned int version;                       /* of this struct, in case a later program changes it */
    unsigned int next;                          /* the step that is about to begin */
    unsigned int letters;                       /* the result so far */
};

static void work(struct state *state, const char *word)
{
    if (strcmp(word, "poison") == 0)
        raise(SIGSEGV);
    state->letters += (unsigned int)strlen(word);
}

int main(void)
{
    static const char *const words[] = {"state", "survives", "poison", "as", "well"};
    struct state state = {1, 0, 0};
    size_t size;
    unsigned int instance;

    if (sam_initialize(1000, SAM_RECOVERY_POLICY_RESTART) != CS_OK || sam_register(&instance) != CS_OK)
        return EXIT_FAILURE;
    setvbuf(stdout, NULL, _IOLBF, 0);

    /* A size of 0 bytes means that nothing is stored. */
    if (sam_data_getsize(&size) != CS_OK)
        return EXIT_FAILURE;
    if (size == sizeof(state)) {
        if (sam_data_restore(&state, sizeof(state)) != CS_OK || state.version != 1)
            return EXIT_FAILURE;
        printf("instance %u: the one before ended at \"%s\", which is left out\n", instance, words[state.next]);
        state.next++;
    }

    if (sam_start() != CS_OK)
        return EXIT_FAILURE;
    for (; state.next < sizeof(words) / sizeof(words[0]); state.next++) {
        if (sam_data_store(&state, sizeof(state)) != CS_OK)
            return EXIT_FAILURE;
        work(&state, words[state.next]);
        printf("instance %u: \"%s\", %u letters so far\n", instance, words[state.next], state.letters);
        sam_hc_send();
    }
    sam_stop();
    return EXIT_SUCCESS;
}
