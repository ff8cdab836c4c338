/* Signal handlers call the library while they interrupt calls. */
#include "observe.h"

#include <sys/time.h>

#define ENOUGH 1000

static volatile sig_atomic_t handled;
static volatile sig_atomic_t unexpected;

static void expect(cs_error_t code, cs_error_t other)
{
	if (code != CS_OK && code != other) {
		unexpected++;
	}
}

static void store(char letter)
{
	char data[2000];

	memset(data, letter, sizeof(data));
	expect(sam_data_store(data, sizeof(data)), CS_OK);
}

static void restore(void)
{
	char data[2000];
	size_t size, i;

	expect(sam_data_getsize(&size), CS_OK);
	memset(data, 'A', sizeof(data));
	expect(sam_data_restore(data, sizeof(data)), CS_OK);
	for (i = 1; i < sizeof(data); i++) {
		if (data[i] != data[0]) {
			unexpected++;
			break;
		}
	}
}

static void handler(int signal_number)
{
	(void)signal_number;
	expect(sam_hc_send(), CS_ERR_BAD_HANDLE);
	store('H');
	restore();
	expect(sam_warn_signal_set(SIGUSR1), CS_OK);
	expect(sam_stop(), CS_ERR_BAD_HANDLE);
	expect(sam_start(), CS_ERR_BAD_HANDLE);
	handled++;
}

int main(void)
{
	struct itimerval often = {{0, 500}, {0, 500}};
	struct itimerval never = {{0, 0}, {0, 0}};
	unsigned int instance;

	on_signal(SIGALRM, handler);
	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_start());
	setitimer(ITIMER_REAL, &often, NULL);
	while (handled < ENOUGH) {
		expect(sam_hc_send(), CS_ERR_BAD_HANDLE);
		store('M');
		restore();
		expect(sam_warn_signal_set(SIGUSR2), CS_OK);
		expect(sam_stop(), CS_ERR_BAD_HANDLE);
		expect(sam_start(), CS_ERR_BAD_HANDLE);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	observe("%d handlers, %s", ENOUGH, unexpected == 0 ? "all results as expected" : "unexpected results");
	MUST(sam_finalize());
	return 0;
}
