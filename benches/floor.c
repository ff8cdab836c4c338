/* Measures the least time from a crash to the next instance: as restart.c does, but with a supervisor that only forks,
 * waits and reaps. It is the lower bound for any library.
 * usage: floor RESTARTS PAUSE_MS MIB none|spare, see restarts.h */
#include "floor.h"
#include "restarts.h"

int main(int argc, char **argv)
{
	struct restarts *restarts = restarts_begin(argc, argv);

	floor_register(argc > 4 && strcmp(argv[4], "spare") == 0);
	if (restarts_note(restarts, now())) {
		exit(0);
	}
	restarts_crash(restarts);
	return 1;
}
