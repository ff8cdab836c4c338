/* Types that corosync's libraries share. Generated from src/capi/corotypes.rs: change it there, then `make header`. */
#ifndef COROTYPES_H_DEFINED
#define COROTYPES_H_DEFINED

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <time.h>
#include <sys/time.h>

#ifndef CS_FALSE
#define CS_FALSE 0
#endif
#ifndef CS_TRUE
#define CS_TRUE !CS_FALSE
#endif

#define CS_TIME_END ((cs_time_t)0x7FFFFFFFFFFFFFFFULL)
#define CS_MAX(x, y) (((x) > (y)) ? (x) : (y))

/* Flags for the tracking of membership. */
#define CS_TRACK_CURRENT 0x01
#define CS_TRACK_CHANGES 0x02
#define CS_TRACK_CHANGES_ONLY 0x04

/* The time that a library waits for an answer of corosync, in milliseconds; -1: no limit. */
#define CS_IPC_TIMEOUT_MS -1

#define CS_TIME_MS_IN_SEC 1000ULL
#define CS_TIME_US_IN_SEC 1000000ULL
#define CS_TIME_NS_IN_SEC 1000000000ULL
#define CS_TIME_US_IN_MSEC 1000ULL
#define CS_TIME_NS_IN_MSEC 1000000ULL
#define CS_TIME_NS_IN_USEC 1000ULL

/* printf(3) formats of node ids and ring ids. */
#define CS_PRI_NODE_ID "%" PRIu32
#define CS_PRI_NODE_ID_PADDED "%10" PRIu32
#define CS_PRI_RING_ID_SEQ "%" PRIx64
#define CS_PRI_RING_ID "%" PRIx32 ".%" PRIx64

/* The largest length of a name in a cs_name_t, in bytes. */
#define CS_MAX_NAME_LENGTH 256

/*
 The result of a call of any of corosync's client libraries, such as libcmap, libquorum and libsam.

 sam.h lists the codes that each function of libsam returns. The other codes are only returned by
 corosync's other libraries.
 */
typedef enum {
  /* The call succeeded. */
  CS_OK = 1,
  /* The library failed, or a system call that it needs. */
  CS_ERR_LIBRARY = 2,
  /* The versions of the library and of the service do not match. */
  CS_ERR_VERSION = 3,
  /* Initialisation failed. */
  CS_ERR_INIT = 4,
  /* The service did not answer in time. */
  CS_ERR_TIMEOUT = 5,
  /* The service is busy: try the call again. */
  CS_ERR_TRY_AGAIN = 6,
  /* An argument is invalid. */
  CS_ERR_INVALID_PARAM = 7,
  /* There is not enough memory. */
  CS_ERR_NO_MEMORY = 8,
  /* The call is not allowed in the present state, or the handle is unknown. */
  CS_ERR_BAD_HANDLE = 9,
  /* The resource is in use. */
  CS_ERR_BUSY = 10,
  /* The user has no access. */
  CS_ERR_ACCESS = 11,
  /* The object does not exist. */
  CS_ERR_NOT_EXIST = 12,
  /* The name is too long. */
  CS_ERR_NAME_TOO_LONG = 13,
  /* The object exists already. */
  CS_ERR_EXIST = 14,
  /* There is no space left. */
  CS_ERR_NO_SPACE = 15,
  /* A signal interrupted the call. */
  CS_ERR_INTERRUPT = 16,
  /* The name was not found. */
  CS_ERR_NAME_NOT_FOUND = 17,
  /* There are not enough resources. */
  CS_ERR_NO_RESOURCES = 18,
  /* The operation is not supported, or needs a library that is not installed. */
  CS_ERR_NOT_SUPPORTED = 19,
  /* The operation is not allowed. */
  CS_ERR_BAD_OPERATION = 20,
  /* The operation failed. */
  CS_ERR_FAILED_OPERATION = 21,
  /* The communication with the service failed. */
  CS_ERR_MESSAGE_ERROR = 22,
  /* The queue is full. */
  CS_ERR_QUEUE_FULL = 23,
  /* The queue is not available. */
  CS_ERR_QUEUE_NOT_AVAILABLE = 24,
  /* The flags are invalid. */
  CS_ERR_BAD_FLAGS = 25,
  /* The size is too large. */
  CS_ERR_TOO_BIG = 26,
  /* There are no sections left. */
  CS_ERR_NO_SECTIONS = 27,
  /* The context was not found. */
  CS_ERR_CONTEXT_NOT_FOUND = 28,
  /* There are too many groups. */
  CS_ERR_TOO_MANY_GROUPS = 30,
  /* The security rules forbid the call. */
  CS_ERR_SECURITY = 100
} cs_error_t;

/*
 The kinds of dispatch that a program passes to functions such as cmap_dispatch(3): how many events the
 call handles, and whether it waits for them. No function of libsam takes this type.
 */
typedef enum {
  /* The call waits for one event and handles it. */
  CS_DISPATCH_ONE = 1,
  /* The call handles all events that have arrived, and does not wait. */
  CS_DISPATCH_ALL = 2,
  /* The call handles events as they arrive, until the handle is closed. */
  CS_DISPATCH_BLOCKING = 3,
  /* The call handles one event if one has arrived, and does not wait. */
  CS_DISPATCH_ONE_NONBLOCKING = 4
} cs_dispatch_flags_t;

/*
 A time in nanoseconds. No function of libsam takes this type: each of corosync's other libraries
 documents the zero point of its times.
 */
typedef int64_t cs_time_t;

/*
 A name of at most CS_MAX_NAME_LENGTH bytes, without a terminating zero byte. No function of libsam
 takes this type.
 */
typedef struct {
  /* The length of the name in bytes. The bytes of value beyond it have no meaning. */
  uint16_t length;
  /* The bytes of the name. Only the first length bytes are in use. */
  uint8_t value[CS_MAX_NAME_LENGTH];
} cs_name_t;

/*
 The version of a service of the corosync daemon. Only corosync's other libraries use this type; it is here because
 programs find it in this header.
 */
typedef struct {
  /* The release letter of the version of a service of the corosync daemon. */
  char releaseCode;
  /* The major version number of a service of the corosync daemon. */
  uint8_t majorVersion;
  /* The minor version number of a service of the corosync daemon. */
  uint8_t minorVersion;
} cs_version_t;

#if defined __GLIBC__ && !defined __USE_POSIX199309
/* Strict ISO C hides clock_gettime(2), so it is declared here under another name. The structure is that of the symbol
   clock_gettime of the C library, for every value of _TIME_BITS. */
struct cs_posix_timespec {
#if defined __TIMESIZE && __TIMESIZE == 64
  int64_t tv_sec;
  int64_t tv_nsec; /* the other half is padding where a long has 32 bits */
#else
  long tv_sec;
  long tv_nsec;
#endif
};
#ifdef __cplusplus
extern "C" {
#endif
extern int cs_posix_clock_gettime(int clock_id, struct cs_posix_timespec *now) __asm__("clock_gettime");
#ifdef __cplusplus
}
#endif
#endif

/* Returns the time of CLOCK_MONOTONIC in nanoseconds. */
static __inline__ uint64_t cs_timestamp_get(void)
{
#if defined __GLIBC__ && !defined __USE_POSIX199309
  struct cs_posix_timespec now;
  cs_posix_clock_gettime(1, &now);
#else
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
#endif
  return (uint64_t)now.tv_sec * 1000000000U + ((uint64_t)now.tv_nsec & 0xFFFFFFFFU);
}

#ifdef __cplusplus
extern "C" {
#endif

/* Functions of libcorosync_common: a program that calls them links -lcorosync_common. */
cs_error_t qb_to_cs_error(int result);
const char *cs_strerror(cs_error_t err);
cs_error_t hdb_error_to_cs(int res);

#ifdef __cplusplus
}
#endif

#endif
