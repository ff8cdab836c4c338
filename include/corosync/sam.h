/* Simple Availability Manager. Generated from src/capi.rs: change it there, then `make header`. */
#ifndef COROSYNC_SAM_H_DEFINED
#define COROSYNC_SAM_H_DEFINED

#include <stddef.h>
#include <corosync/corotypes.h>

/*
 What happens when the instance is lost, and on what conditions it runs.

 QUIT or RESTART, each alone or together (|) with QUORUM, CMAP or both.
 */
typedef enum {
  /* The supervisor ends, as the instance did. */
  SAM_RECOVERY_POLICY_QUIT = 1,
  /* The next instance is started, as the first was at sam_register(). */
  SAM_RECOVERY_POLICY_RESTART = 2,
  /* Flag: run only while the cluster partition is quorate. */
  SAM_RECOVERY_POLICY_QUORUM = 8,
  /* QUIT with QUORUM. */
  SAM_RECOVERY_POLICY_QUORUM_QUIT = 9,
  /* RESTART with QUORUM. */
  SAM_RECOVERY_POLICY_QUORUM_RESTART = 10,
  /* Flag: show the state in corosync's cmap. */
  SAM_RECOVERY_POLICY_CMAP = 16,
  /* The old name of CMAP. */
  SAM_RECOVERY_POLICY_CONFDB = 16
} sam_recovery_policy_t;

/*
 Health check of event driven operation: 0 means healthy, anything else starts the recovery at once.

 Runs in a thread of the library with a normal stack, while health checking is started, with the signal mask of
 the thread that registered it. May call any sam function. A callback that takes longer than three quarters of
 the interval counts as a hang.
 */
typedef int (*sam_hc_callback_t)(void);

#ifdef __cplusplus
extern "C" {
#endif

/*
 Opens the session of this process: how long the instance may be silent, and what happens when it is lost.

 time_interval: the longest silence allowed between two heartbeats while started, in ms. 0 or negative: no
 limit, only the end of the instance counts.

 recovery_policy: see sam_recovery_policy_t.

 Returns CS_OK; CS_ERR_BAD_HANDLE: initialised before; CS_ERR_INVALID_PARAM: no such policy, or a malformed
 SAM_ variable in the environment; CS_ERR_NO_MEMORY; CS_ERR_LIBRARY: the system refused a descriptor or
 memory (see errno); CS_ERR_NOT_SUPPORTED: the policy needs a client library of corosync that is not
 installed; with QUORUM also the error of that library. After an error nothing is open.

 Until it has succeeded, not for a signal handler that may have interrupted malloc(3) or the like.
 */
cs_error_t sam_initialize(int time_interval, sam_recovery_policy_t recovery_policy);

/*
 Ends the session: from now on no recovery takes place. The supervisor stays until this process ends, and
 ends as it does.

 Returns CS_OK; CS_ERR_BAD_HANDLE: not initialised, or finalised before.
 */
cs_error_t sam_finalize(void);

/*
 Starts health checking; also a first heartbeat. With QUORUM it waits until the partition is quorate.

 Returns CS_OK; CS_ERR_BAD_HANDLE: not registered, or started already; CS_ERR_LIBRARY: the supervisor is gone.
 */
cs_error_t sam_start(void);

/*
 Stops health checking. Called by a handler of the warning signal, it calls the recovery off.

 Returns CS_OK; CS_ERR_BAD_HANDLE: not started; CS_ERR_LIBRARY: the supervisor is gone.
 */
cs_error_t sam_stop(void);

/*
 Sets the signal that warns the instance, one interval before it is killed. SIGTERM unless set.

 warn_signal: 0 (no warning) to SIGRTMAX. SIGKILL: no warning, and the kill comes when the warning would.

 Returns CS_OK; CS_ERR_BAD_HANDLE: not initialised, or finalised; CS_ERR_INVALID_PARAM: no such signal, the
 one set before stays; CS_ERR_LIBRARY: the supervisor is gone.
 */
cs_error_t sam_warn_signal_set(int warn_signal);

/*
 Splits the process in two: the caller stays behind as the supervisor and does not return; the call returns
 in its child, the instance, and again in each later instance.

 instance_id: where to put the number of the instance: 1 for the first, one more at every restart, 0 after
 INT_MAX. May be NULL.

 Returns CS_OK; CS_ERR_BAD_HANDLE: not initialised, or registered before; CS_ERR_LIBRARY: no first instance
 could be made (see errno), and the caller goes on as it was; with CMAP, CS_ERR_BAD_HANDLE when corosync
 cannot be reached and CS_ERR_NOT_SUPPORTED when its client library is not installed.

 Until it has succeeded, not for a signal handler that may have interrupted malloc(3) or the like.
 */
cs_error_t sam_register(unsigned int *instance_id);

/*
 Sends a heartbeat: the instance is well. One store to shared memory, no system call.

 Returns CS_OK; CS_ERR_BAD_HANDLE: not started; CS_ERR_LIBRARY: the supervisor is gone.
 */
cs_error_t sam_hc_send(void);

/*
 Registers the callback of event driven health checks; NULL goes back to sam_hc_send().

 Returns CS_OK; CS_ERR_BAD_HANDLE: not registered, or started; CS_ERR_INVALID_PARAM: the interval is 0, or
 NULL and there never was one; CS_ERR_LIBRARY: no thread could be made (see errno), or the supervisor is gone.

 Until it has succeeded, not for a signal handler that may have interrupted malloc(3) or the like.
 */
cs_error_t sam_hc_callback_register(sam_hc_callback_t cb);

/*
 Tells the size of the stored data in bytes; 0 when there is none.

 Returns CS_OK; CS_ERR_INVALID_PARAM: size is NULL; CS_ERR_BAD_HANDLE: not initialised, or finalised;
 CS_ERR_LIBRARY: the application closed the library's descriptors and it cannot get at the data. After an error
 *size is as it was.
 */
cs_error_t sam_data_getsize(size_t *size);

/*
 Copies the stored data to the caller; does nothing when there is none.

 data: where to; size: its room in bytes, at least what sam_data_getsize() tells.

 Returns CS_OK; CS_ERR_INVALID_PARAM: data is NULL or size too small, and nothing was copied;
 CS_ERR_BAD_HANDLE: not initialised, or finalised; CS_ERR_LIBRARY: the application closed the library's
 descriptors and it cannot get at the data.
 */
cs_error_t sam_data_restore(void *data, size_t size);

/*
 Stores data that later instances can restore. A store that is cut off leaves the earlier data whole.

 data: what to store, NULL forgets what is stored; size: in bytes, ignored with NULL.

 Returns CS_OK; CS_ERR_BAD_HANDLE: not initialised, or finalised; CS_ERR_TOO_BIG: SSIZE_MAX bytes or more;
 CS_ERR_NO_MEMORY: more than this machine has memory for; CS_ERR_LIBRARY: the supervisor is gone, or the
 application closed the library's descriptors and it has no room for more. After an error the earlier data
 is intact.
 */
cs_error_t sam_data_store(const void *data, size_t size);

/*
 Gives up: the instance is killed without a warning and never restarted, and the state in cmap becomes
 "failed", on which corosync's watchdog acts. Does not return when it succeeds.

 Returns CS_ERR_BAD_HANDLE: not registered, or finalised; CS_ERR_INVALID_PARAM: the policy is without CMAP;
 CS_ERR_LIBRARY: the supervisor is gone.
 */
cs_error_t sam_mark_failed(void);

#ifdef __cplusplus
}
#endif

#endif
