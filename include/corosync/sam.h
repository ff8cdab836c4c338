/* Simple Availability Manager. Generated from src/capi.rs: change it there, then `make header`. */
#ifndef COROSYNC_SAM_H_DEFINED
#define COROSYNC_SAM_H_DEFINED

#include <stddef.h>
#include <corosync/corotypes.h>

/*
 The recovery policy: what the supervisor does when an instance ends while health checking runs, and the use
 of corosync.

 A policy is QUIT or RESTART, alone or combined (|) with the flag QUORUM, the flag CMAP or both flags. Every
 other value is invalid.
 */
typedef enum {
  /* The supervisor ends with the exit status or signal of the instance. */
  SAM_RECOVERY_POLICY_QUIT = 1,
  /* The supervisor forks the next instance, which returns from the same sam_register() call. */
  SAM_RECOVERY_POLICY_RESTART = 2,
  /* Flag: sam_start() waits for quorum, and an instance that loses quorum is killed. Not a policy by itself. */
  SAM_RECOVERY_POLICY_QUORUM = 8,
  /* QUIT | QUORUM. */
  SAM_RECOVERY_POLICY_QUORUM_QUIT = 9,
  /* RESTART | QUORUM. */
  SAM_RECOVERY_POLICY_QUORUM_RESTART = 10,
  /* Flag: the supervisor publishes the state of the instance in corosync's cmap. Not a policy by itself. */
  SAM_RECOVERY_POLICY_CMAP = 16,
  /* The former name of SAM_RECOVERY_POLICY_CMAP. */
  SAM_RECOVERY_POLICY_CONFDB = 16
} sam_recovery_policy_t;

/*
 A health check function of the program. Returns 0 if the program is healthy. After any other value, the
 instance receives the warning signal at once.

 A thread of the library calls the function once per interval while health checking runs. The function runs
 on a stack of the default size for threads, with the signal mask of the thread that registered the
 function. It may call every function of this library. A call that takes longer than three quarters of the
 interval counts as a hang.
 */
typedef int (*sam_hc_callback_t)(void);

#ifdef __cplusplus
extern "C" {
#endif

/*
 Opens the session of this process, with the longest silence allowed and the recovery policy. To be called
 before every other function of this library.

 time_interval: the longest silence between two heartbeats while health checking runs, in milliseconds, 1
 to INT_MAX. With 0 or a negative value, the silence has no limit: the supervisor then warns and kills an
 instance only when quorum is lost.

 recovery_policy: a policy as sam_recovery_policy_t describes it.

 Returns:
 - CS_OK: the session is open.
 - CS_ERR_BAD_HANDLE: this process, or one from which it was forked, has called sam_initialize()
   successfully before. There is no second session, not even after sam_finalize().
 - CS_ERR_INVALID_PARAM: recovery_policy is not a policy, or an environment variable of this library
   (SAM_...) has an invalid value. A log line names the variable.
 - CS_ERR_NO_MEMORY: there is not enough memory.
 - CS_ERR_LIBRARY: the kernel refused a resource, and errno says why. Or a policy with QUORUM was given and
   corosync does not run: a log line says so, and errno has no meaning.
 - CS_ERR_NOT_SUPPORTED: a policy with QUORUM was given, and corosync's client library is not installed. A
   log line names the missing file.
 - CS_ERR_TRY_AGAIN: a policy with QUORUM was given, and corosync is too busy to answer.
 - CS_ERR_TIMEOUT: a policy with QUORUM was given, and corosync did not answer within five seconds.
 - CS_ERR_ACCESS: a policy with QUORUM was given, and corosync rejects this user.
 - Another code: a policy with QUORUM was given, and corosync's client library returned that code. A log
   line names it.

 After an error, nothing has changed. Except after CS_ERR_BAD_HANDLE, the program can call again when the
 cause has passed, or with other arguments.

 May be called from any thread, but not in a signal handler.
 */
cs_error_t sam_initialize(int time_interval, sam_recovery_policy_t recovery_policy);

/*
 Ends the session: no kill and no restart follow from now on.

 The program runs on. When the instance ends, the supervisor ends with the same exit status or by the same
 signal. With CMAP, the call waits at most one second until cmap shows the state "stopped".

 Returns:
 - CS_OK: the session has ended. The call succeeds even if the supervisor has died.
 - CS_ERR_BAD_HANDLE: there is no session, or it has ended before. Nothing changes.

 May be called from any thread and in any signal handler.
 */
cs_error_t sam_finalize(void);

/*
 Starts health checking, which runs until sam_stop() or sam_finalize(). Counts as the first heartbeat.

 With QUORUM, the call blocks until the cluster partition is quorate, without a time limit. With CMAP, it
 waits at most one second until cmap shows the new state.

 Returns:
 - CS_OK: health checking runs.
 - CS_ERR_BAD_HANDLE: the process is not registered, the session has ended, or health checking already
   runs. Nothing changes.
 - CS_ERR_LIBRARY: the supervisor has died. The program is no longer supervised and should end.

 May be called from any thread and in any signal handler.
 */
cs_error_t sam_start(void);

/*
 Stops health checking. After the warning signal, this cancels the kill.

 Until the next sam_start(), the instance may be silent. If the instance ends, the supervisor ends too, under
 every policy. With CMAP, the call waits at most one second until cmap shows the state "stopped".

 Returns:
 - CS_OK: health checking does not run any more.
 - CS_ERR_BAD_HANDLE: health checking does not run. Nothing changes.
 - CS_ERR_LIBRARY: the supervisor has died. The program is no longer supervised and should end.

 May be called from any thread and in any signal handler.
 */
cs_error_t sam_stop(void);

/*
 Sets the warning signal, which an instance receives one interval before the supervisor kills it.

 warn_signal: a signal number, 0 to SIGRTMAX. The default is SIGTERM. 0 means no warning: the instance is
 killed when it would have been killed after a warning. SIGKILL means no warning and no further wait: the
 instance is killed when the warning would have been sent.

 Returns:
 - CS_OK: the signal is set, for this instance and for later ones.
 - CS_ERR_BAD_HANDLE: there is no session, or it has ended. Nothing changes.
 - CS_ERR_INVALID_PARAM: warn_signal is out of range. The earlier signal stays set.
 - CS_ERR_LIBRARY: the supervisor has died. The program is no longer supervised and should end.

 May be called from any thread and in any signal handler.
 */
cs_error_t sam_warn_signal_set(int warn_signal);

/*
 Forks: the calling process becomes the supervisor, and the call returns in its child, the instance.

 The call never returns in the supervisor. After each restart, it returns in the next instance.

 instance_id: where the instance id is stored, or NULL. The id is 1 for the first instance and grows by
 one at every restart; INT_MAX is followed by 0.

 Returns:
 - CS_OK: the caller is an instance.
 - CS_ERR_BAD_HANDLE: there is no session, the process is already registered, or the session has ended.
   With CMAP also: corosync cannot be reached, and a log line says so.
 - CS_ERR_LIBRARY: the kernel refused a resource, such as a process or memory, and errno says why.
 - CS_ERR_NOT_SUPPORTED: with CMAP, corosync's client library is not installed. A log line names the
   missing file.

 An error is returned in the calling process. There is no instance and no supervisor, and *instance_id is
 unchanged. The program can call again when the cause has passed.

 May be called from any thread, but not in a signal handler.
 */
cs_error_t sam_register(unsigned int *instance_id);

/*
 Sends a heartbeat: stores the current time in memory that the supervisor reads.

 The call never blocks. It makes no system call where the C library reads the clock without one.

 Returns:
 - CS_OK: the heartbeat is sent.
 - CS_ERR_BAD_HANDLE: health checking does not run. No heartbeat is sent.
 - CS_ERR_LIBRARY: the supervisor has died. The program is no longer supervised and should end.

 May be called from any thread and in any signal handler.
 */
cs_error_t sam_hc_send(void);

/*
 Registers a health check function; a thread of the library then sends the heartbeats and calls the
 function.

 cb: the function, which replaces an earlier one. With NULL, no function is called any more, and the
 program sends heartbeats by sam_hc_send() again. With a negative interval the function is accepted and
 never called.

 Returns:
 - CS_OK: the function is registered in this instance. The next instance must register its own.
 - CS_ERR_BAD_HANDLE: the process is not registered, health checking runs, or the session has ended.
 - CS_ERR_INVALID_PARAM: the interval is 0, or cb is NULL and this instance has never registered a
   function.
 - CS_ERR_LIBRARY: the thread could not be created, and errno says why; or the supervisor has died.

 After an error the earlier function, if any, stays registered.

 May be called from any thread, but not in a signal handler: the first call in an instance creates the
 thread.
 */
cs_error_t sam_hc_callback_register(sam_hc_callback_t cb);

/*
 Stores the size of the stored data in *size, in bytes; 0 if no data is stored.

 size: where the size is stored, not NULL.

 Returns:
 - CS_OK: *size is set. The call succeeds even if the supervisor has died.
 - CS_ERR_INVALID_PARAM: size is NULL. This is checked before anything else.
 - CS_ERR_BAD_HANDLE: there is no session, or it has ended.
 - CS_ERR_NO_MEMORY: the stored data does not fit in the address space of the process.
 - CS_ERR_LIBRARY: the program closed or replaced the descriptor by which the library reads the data.

 After an error *size is unchanged.

 May be called from any thread and in any signal handler.
 */
cs_error_t sam_data_getsize(size_t *size);

/*
 Copies the stored data to the buffer of the caller; copies nothing if no data is stored.

 data: the buffer, not NULL. Bytes of the buffer behind the stored data are unchanged.

 size: the size of the buffer in bytes, at least the size that sam_data_getsize() stores.

 Returns:
 - CS_OK: the data is copied, or no data is stored. The call succeeds even if the supervisor has died.
 - CS_ERR_INVALID_PARAM: data is NULL, which is checked before anything else, or size is too small.
 - CS_ERR_BAD_HANDLE: there is no session, or it has ended.
 - CS_ERR_NO_MEMORY: the stored data does not fit in the address space of the process.
 - CS_ERR_LIBRARY: the program closed or replaced the descriptor by which the library reads the data.

 After an error the buffer is unchanged.

 May be called from any thread and in any signal handler.
 */
cs_error_t sam_data_restore(void *data, size_t size);

/*
 Stores a copy of the data for this instance and for later ones; it replaces the data stored before.

 If the instance is killed during the call, the next instance finds the data stored before, unchanged.

 data: the data, or NULL to remove the stored data.

 size: the size of the data in bytes, 0 to SSIZE_MAX - 1; ignored if data is NULL. 0 removes the stored
 data.

 Returns:
 - CS_OK: the data is stored, or removed.
 - CS_ERR_BAD_HANDLE: there is no session, or it has ended.
 - CS_ERR_TOO_BIG: size is SSIZE_MAX or more.
 - CS_ERR_NO_MEMORY: there is not enough memory for size bytes beside the data stored before.
 - CS_ERR_LIBRARY: the supervisor has died, or the program closed or replaced the descriptor by which the
   library gets memory.

 After an error the data stored before is unchanged.

 May be called from any thread and in any signal handler.
 */
cs_error_t sam_data_store(const void *data, size_t size);

/*
 Gives up: kills the instance by SIGKILL without a warning, and marks the process as failed in cmap.

 No restart follows, under any policy, and the supervisor ends by SIGKILL as well. corosync's watchdog
 service acts on the state "failed" and may reset the node. The call does not return when it succeeds.

 Returns:
 - CS_ERR_BAD_HANDLE: the process is not registered, or the session has ended. Nothing changes.
 - CS_ERR_INVALID_PARAM: the policy is without CMAP. Nothing changes.
 - CS_ERR_LIBRARY: the supervisor has died. Nothing changes.

 May be called from any thread and in any signal handler.
 */
cs_error_t sam_mark_failed(void);

#ifdef __cplusplus
}
#endif

#endif
