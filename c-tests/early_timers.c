/* Sets timers before sam_register. They belong to the process that set them, and no instance receives their signals.
 * The supervisor forwards a SIGALRM that another process sends. */
#include "observe.h"

#include <sys/time.h>

static volatile sig_atomic_t alarms, others;

static void on_alarm(int number)
{
	(void)number;
	alarms++;
}

static void on_other(int number)
{
	(void)number;
	others++;
}

int main(void)
{
	const struct itimerval soon = {{0, 10000}, {0, 10000}};
	const struct itimerspec often = {{0, 10000000}, {0, 10000000}};
	pid_t supervisor = getpid();
	struct sigevent event;
	unsigned int instance;
	timer_t timer;
	int i;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
	on_signal(SIGALRM, on_alarm);
	on_signal(SIGVTALRM, on_other);
	on_signal(SIGPROF, on_other);
	on_signal(SIGUSR2, on_other);
	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = SIGUSR2;
	timer_create(CLOCK_MONOTONIC, &event, &timer);
	timer_settime(timer, 0, &often, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	setitimer(ITIMER_VIRTUAL, &soon, NULL);
	setitimer(ITIMER_PROF, &soon, NULL);
	MUST(sam_register(&instance));
	alarms = others = 0; /* forget the signals that arrived before the fork */
	sleep_ms(1000);
	observe("SIGALRM: %d, others: %d", (int)alarms, (int)others);
	kill(supervisor, SIGALRM);
	for (i = 0; i < 1000 && alarms == 0; i++) {
		sleep_ms(10);
	}
	observe("SIGALRM: %d", (int)alarms);
	MUST(sam_finalize());
	return 0;
}
