/*
 * State that survives restarts: sam_data_store keeps it outside of the instance, and the next one reads what the last
 * completed store left. A store that was cut off by death leaves the earlier state whole.
 *
 * The job counts words. Its input has one on which the program crashes; a restart that went back to it would crash for
 * ever. So each step says before it begins what it is about to do, and the next instance leaves that one out.
 */
#include <corosync/sam.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state {
    unsigned int version;                       /* of this struct: the next program may know another */
    unsigned int next;                          /* the step that was about to begin */
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

    /* 0 bytes: nothing was stored yet. */
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
