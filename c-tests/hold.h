/* Functions that hold another process, as a debugger does. */
#ifndef HOLD_H
#define HOLD_H

#include "observe.h"

#include <sys/ptrace.h>

/* Holds a process for some time without any signal, so that it cannot know that time has passed. */
static inline void hold(pid_t process, long ms)
{
	if (ptrace(PTRACE_SEIZE, process, NULL, NULL) != 0) {
		if (errno != ESRCH) {
			observe("left out: cannot trace a process: %s", strerror(errno));
		}
		return;
	}
	ptrace(PTRACE_INTERRUPT, process, NULL, NULL);
	waitpid(process, NULL, __WALL);
	sleep_ms(ms);
	ptrace(PTRACE_DETACH, process, NULL, NULL);
}

/* Stops a process by SIGSTOP, as debuggers do when they attach, and detaches after some time. */
static inline void attach(pid_t process, long ms)
{
	if (ptrace(PTRACE_ATTACH, process, NULL, NULL) != 0) {
		if (errno != ESRCH) {
			observe("left out: cannot trace a process: %s", strerror(errno));
		}
		return;
	}
	waitpid(process, NULL, __WALL);
	sleep_ms(ms);
	ptrace(PTRACE_DETACH, process, NULL, NULL);
}

#endif
