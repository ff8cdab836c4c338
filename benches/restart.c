/* Measures the time from a crash to the return of sam_register in the next instance: ns per restart.
 * usage: restart RESTARTS PAUSE_MS MIB, see restarts.h */
#include "restarts.h"

int main(int argc, char **argv)
{
	struct restarts *restarts = restarts_begin(argc, argv);
	uint64_t back;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_RESTART) == CS_OK);
	MUST(sam_register(NULL) == CS_OK);
	back = now();
	MUST(sam_start() == CS_OK);
	if (restarts_note(restarts, back)) {
		end_supervised();
	}
	restarts_crash(restarts);
	return 1;
}
