/* Closes every descriptor, and opens its own files under the same numbers. The library must leave the files alone. */
#include "observe.h"

#include <setjmp.h>
#include <sys/stat.h>

#define FIRST 3
#define LAST 40
#define INTERVAL_MS 2500

static sigjmp_buf out_of_a_call;

static void no_answer(int signal_number)
{
	(void)signal_number;
	siglongjmp(out_of_a_call, 1);
}

/* Stores with a time limit of 2 s, because corosync's libsam waits for an answer to the data. */
static cs_error_t store(const void *data, size_t size)
{
	volatile cs_error_t code = CS_ERR_TIMEOUT;

	if (sigsetjmp(out_of_a_call, 1) == 0) {
		alarm(2);
		code = sam_data_store(data, size);
	}
	alarm(0);
	observe("# sam_data_store: %d", (int)code);
	return code;
}

int main(void)
{
	static char large[1 << 20];
	char *stored = shared_memory(8);
	unsigned int instance;
	int i, touched = 0;

	on_signal(SIGALRM, no_answer);
	MUST(sam_initialize(INTERVAL_MS, SAM_RECOVERY_POLICY_RESTART));
	strcpy(stored, "before");
	MUST(sam_data_store(stored, 8));
	MUST(sam_register(&instance));
	observe("instance %u", instance);
	if (instance == 2) {
		size_t size;

		MUST(sam_data_getsize(&size));
		MUST(sam_data_restore(large, sizeof(large)));
		observe(strcmp(stored, large) == 0 ? "data of the last completed store" : "data lost");
		return 0;
	}
	for (i = FIRST; i <= LAST; i++) {
		close(i);
	}
	for (i = FIRST; i <= LAST; i++) {
		char name[] = "/tmp/own_files_XXXXXX";
		int descriptor = mkstemp(name);

		if (descriptor != i || unlink(name) != 0) {
			observe("no file in place of descriptor %d", i);
			give_up();
		}
	}
	observe("# sam_start: %d", (int)sam_start());
	for (i = 0; i < 10; i++) {
		observe("# sam_hc_send: %d", (int)sam_hc_send());
	}
	observe("# sam_warn_signal_set: %d", (int)sam_warn_signal_set(0));
	if (store("small", 6) == CS_OK) {
		strcpy(stored, "small");
	}
	memset(large, 'x', sizeof(large) - 1);
	strcpy(large, "large");
	if (store(large, sizeof(large)) == CS_OK) {
		strcpy(stored, "large");
	}
	for (i = FIRST; i <= LAST; i++) {
		struct stat status;

		if (fstat(i, &status) != 0 || status.st_size != 0 || lseek(i, 0, SEEK_CUR) != 0) {
			touched++;
		}
	}
	observe(touched == 0 ? "the program's files are as they were" : "the library wrote into the program's files");
	hang();
	return 0;
}
