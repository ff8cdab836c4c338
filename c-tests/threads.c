/* Makes every call from several threads at the same time. */
#include "observe.h"

#include <pthread.h>

#define SIZE 10000

static volatile sig_atomic_t end;
static int unexpected;

static void expect(cs_error_t code, cs_error_t other)
{
	if (code != CS_OK && code != other) {
		__sync_fetch_and_add(&unexpected, 1);
	}
}

static void *beat(void *unused)
{
	while (!end) {
		expect(sam_hc_send(), CS_ERR_BAD_HANDLE);
	}
	return unused;
}

static void *start_and_stop(void *unused)
{
	while (!end) {
		expect(sam_start(), CS_ERR_BAD_HANDLE);
		expect(sam_stop(), CS_ERR_BAD_HANDLE);
	}
	return unused;
}

static void *store(void *letter)
{
	char data[SIZE];

	while (!end) {
		memset(data, *(char *)letter, sizeof(data));
		expect(sam_data_store(data, sizeof(data)), CS_OK);
	}
	return NULL;
}

static void *restore(void *unused)
{
	char data[SIZE];
	size_t size, i;

	while (!end) {
		expect(sam_data_getsize(&size), CS_OK);
		memset(data, 'A', sizeof(data));
		expect(sam_data_restore(data, sizeof(data)), CS_OK);
		for (i = 1; i < sizeof(data); i++) {
			if (data[i] != data[0]) {
				__sync_fetch_and_add(&unexpected, 1);
			}
		}
		expect(sam_warn_signal_set(SIGTERM), CS_OK);
	}
	return unused;
}

int main(void)
{
	static char letters[] = "AB";
	pthread_t threads[6];
	unsigned int instance;
	int i;

	MUST(sam_initialize(0, SAM_RECOVERY_POLICY_QUIT));
	MUST(sam_register(&instance));
	MUST(sam_start());
	pthread_create(&threads[0], NULL, beat, NULL);
	pthread_create(&threads[1], NULL, start_and_stop, NULL);
	pthread_create(&threads[2], NULL, beat, NULL);
	pthread_create(&threads[3], NULL, store, &letters[0]);
	pthread_create(&threads[4], NULL, store, &letters[1]);
	pthread_create(&threads[5], NULL, restore, NULL);
	sleep_ms(1000);
	end = 1;
	for (i = 0; i < 6; i++) {
		pthread_join(threads[i], NULL);
	}
	observe("%d unexpected results", unexpected);
	MUST(sam_finalize());
	return 0;
}
