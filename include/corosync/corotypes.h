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

/* How membership is tracked. */
#define CS_TRACK_CURRENT 0x01
#define CS_TRACK_CHANGES 0x02
#define CS_TRACK_CHANGES_ONLY 0x04

/* How long a library waits for corosync's answer, in ms; -1: for ever. */
#define CS_IPC_TIMEOUT_MS -1

#define CS_TIME_MS_IN_SEC 1000ULL
#define CS_TIME_US_IN_SEC 1000000ULL
#define CS_TIME_NS_IN_SEC 1000000000ULL
#define CS_TIME_US_IN_MSEC 1000ULL
#define CS_TIME_NS_IN_MSEC 1000000ULL
#define CS_TIME_NS_IN_USEC 1000ULL

/* printf formats of node ids and ring ids. */
#define CS_PRI_NODE_ID "%" PRIu32
#define CS_PRI_NODE_ID_PADDED "%10" PRIu32
#define CS_PRI_RING_ID_SEQ "%" PRIx64
#define CS_PRI_RING_ID "%" PRIx32 ".%" PRIx64

/* Bytes in a cs_name_t. */
#define CS_MAX_NAME_LENGTH 256

/* What every call of corosync's libraries returns. */
typedef enum {
  /* The call did what it says. */
  CS_OK = 1,
  /* The library, or something that it needs of the system, failed. */
  CS_ERR_LIBRARY = 2,
  /* The versions of library and service do not fit. */
  CS_ERR_VERSION = 3,
  /* Initialisation failed. */
  CS_ERR_INIT = 4,
  /* No answer in time. */
  CS_ERR_TIMEOUT = 5,
  /* Cannot be done at the moment; call again. */
  CS_ERR_TRY_AGAIN = 6,
  /* An argument is out of its range. */
  CS_ERR_INVALID_PARAM = 7,
  /* Not enough memory. */
  CS_ERR_NO_MEMORY = 8,
  /* Not legal in this state, or an unknown handle. */
  CS_ERR_BAD_HANDLE = 9,
  /* In use. */
  CS_ERR_BUSY = 10,
  /* Access denied. */
  CS_ERR_ACCESS = 11,
  /* Does not exist. */
  CS_ERR_NOT_EXIST = 12,
  /* Name too long. */
  CS_ERR_NAME_TOO_LONG = 13,
  /* Exists already. */
  CS_ERR_EXIST = 14,
  /* No space left. */
  CS_ERR_NO_SPACE = 15,
  /* Interrupted by a signal. */
  CS_ERR_INTERRUPT = 16,
  /* Name not found. */
  CS_ERR_NAME_NOT_FOUND = 17,
  /* Not enough resources. */
  CS_ERR_NO_RESOURCES = 18,
  /* Not supported. */
  CS_ERR_NOT_SUPPORTED = 19,
  /* Operation not allowed. */
  CS_ERR_BAD_OPERATION = 20,
  /* The operation failed. */
  CS_ERR_FAILED_OPERATION = 21,
  /* Communication error. */
  CS_ERR_MESSAGE_ERROR = 22,
  /* Queue full. */
  CS_ERR_QUEUE_FULL = 23,
  /* Queue not available. */
  CS_ERR_QUEUE_NOT_AVAILABLE = 24,
  /* Bad flags. */
  CS_ERR_BAD_FLAGS = 25,
  /* Too large. */
  CS_ERR_TOO_BIG = 26,
  /* No sections left. */
  CS_ERR_NO_SECTIONS = 27,
  /* Context not found. */
  CS_ERR_CONTEXT_NOT_FOUND = 28,
  /* Too many groups. */
  CS_ERR_TOO_MANY_GROUPS = 30,
  /* Not allowed by security rules. */
  CS_ERR_SECURITY = 100
} cs_error_t;

/* How a dispatch function of corosync's libraries works through what has arrived. */
typedef enum {
  /* One event; waits for it. */
  CS_DISPATCH_ONE = 1,
  /* Everything that has arrived. */
  CS_DISPATCH_ALL = 2,
  /* Everything, until the handle is closed. */
  CS_DISPATCH_BLOCKING = 3,
  /* One event, if one has arrived. */
  CS_DISPATCH_ONE_NONBLOCKING = 4
} cs_dispatch_flags_t;

/* Time in ns. */
typedef int64_t cs_time_t;

/* A name of at most CS_MAX_NAME_LENGTH bytes, not ended by a zero byte. */
typedef struct {
  /* Bytes of value in use. */
  uint16_t length;
  /* The name. */
  uint8_t value[CS_MAX_NAME_LENGTH];
} cs_name_t;

/* The version of a service. */
typedef struct {
  /* Release, a letter. */
  char releaseCode;
  /* Major version. */
  uint8_t majorVersion;
  /* Minor version. */
  uint8_t minorVersion;
} cs_version_t;

#if defined __GLIBC__ && !defined __USE_POSIX199309
/* Strict ISO C hides clock_gettime(2): it is declared here under another name, with the time as the C library's own
   symbol has it, whatever _TIME_BITS says. */
struct cs_posix_timespec {
#if defined __TIMESIZE && __TIMESIZE == 64
  int64_t tv_sec;
  int64_t tv_nsec; /* where a long is shorter, the other half is padding */
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

/* CLOCK_MONOTONIC in ns. */
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

/* Defined in libcorosync_common, which a program that calls them links. */
cs_error_t qb_to_cs_error(int result);
const char *cs_strerror(cs_error_t err);
cs_error_t hdb_error_to_cs(int res);

#ifdef __cplusplus
}
#endif

#endif
