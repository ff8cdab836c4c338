//! The C library's functions that this library uses, under names of its own. A program may define functions with the
//! names of the C library's, such as `send` or `time`, for something else: the dynamic linker would then lead this
//! library, and what it is linked from, to the program's. build.rs reads the names `sam_direct_NAME` here, and has
//! the linker put each such function in the place of `NAME`, within the shared library only.
//!
//! System calls are made directly, and so are no cancellation points (see pthreads(7)): no call of this library is left
//! by a cancellation.
//!
//! Left out are the names that ISO C reserves, those that replacements of the allocator and sanitizers must see
//! (`mmap`, `fork`, `sigaction`, `pthread_create` ..), `clock_gettime`, which is a call through the vDSO, and names
//! that the C library itself begins with an underscore. tests/elf.rs has the list.

use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{
    clockid_t, id_t, idtype_t, iovec, itimerval, mode_t, nfds_t, off_t, off64_t, pid_t, pollfd, rlimit64,
    siginfo_t, sigset_t, sigval, size_t, sockaddr, socklen_t, ssize_t, stat64, statx, syscall, sysinfo,
    timespec,
};

use super::timed_call::TimedCall;

/// The size of a signal mask in system calls of the kernel, in bytes.
const MASK: usize = if cfg!(target_arch = "mips64") { 16 } else { 8 };

/// Defines functions that replace functions of the C library within this library, and consist of a system call with the
/// same arguments. So a function of the program that has the same name cannot replace them.
macro_rules! calls {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $($call:ident)+ ($($value:expr),*);)+) => {
        $(
            /// Does the same as the C library's function of that name, by a system call of its own. So a function of
            /// the program that has the same name is not called, and a thread is not cancelled here.
            ///
            /// # Safety
            /// The conditions of the C library's function.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                // SAFETY: the caller keeps to the conditions of the system call.
                unsafe { syscall(libc::$($call)+, $($value),*) as $result }
            }
        )+
    };
}

calls! {
    sam_direct_close(fd: c_int) -> c_int = SYS_close(fd);
    sam_direct_connect(fd: c_int, to: *const sockaddr, length: socklen_t) -> c_int = SYS_connect(fd, to, length);
    sam_direct_eventfd(count: c_uint, flags: c_int) -> c_int = SYS_eventfd2(count, flags);
    sam_direct_getpgid(process: pid_t) -> pid_t = SYS_getpgid(process);
    sam_direct_getpgrp() -> pid_t = SYS_getpgid(0);
    sam_direct_getpid() -> pid_t = SYS_getpid();
    sam_direct_getppid() -> pid_t = SYS_getppid();
    sam_direct_getsid(process: pid_t) -> pid_t = SYS_getsid(process);
    sam_direct_ioctl(fd: c_int, request: c_ulong, argument: c_ulong) -> c_int = SYS_ioctl(fd, request, argument);
    sam_direct_kill(process: pid_t, signal: c_int) -> c_int = SYS_kill(process, signal);
    sam_direct_memfd_create(name: *const c_char, flags: c_uint) -> c_int = SYS_memfd_create(name, flags);
    sam_direct_mprotect(start: *mut c_void, length: size_t, access: c_int) -> c_int
        = SYS_mprotect(start, length, access);
    sam_direct_open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int
        = SYS_openat(libc::AT_FDCWD, path, flags, mode);
    sam_direct_open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int
        = SYS_openat(libc::AT_FDCWD, path, flags | libc::O_LARGEFILE, mode);
    sam_direct_prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int
        = SYS_prctl(option, a, b, c, d);
    sam_direct_prlimit64(process: pid_t, resource: c_uint, limits: *const rlimit64, before: *mut rlimit64) -> c_int
        = SYS_prlimit64(process, resource, limits, before);
    sam_direct_pwritev2(fd: c_int, parts: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t
        = SYS_pwritev2(fd, parts, c_long::from(count), offset, high_half(offset), flags);
    sam_direct_read(fd: c_int, to: *mut c_void, length: size_t) -> ssize_t = SYS_read(fd, to, length);
    sam_direct_readlink(path: *const c_char, to: *mut c_char, length: size_t) -> ssize_t
        = SYS_readlinkat(libc::AT_FDCWD, path, to, length);
    sam_direct_send(fd: c_int, data: *const c_void, length: size_t, flags: c_int) -> ssize_t
        = SYS_sendto(fd, data, length, flags, ptr::null::<sockaddr>(), 0);
    sam_direct_sendto(
        fd: c_int, data: *const c_void, length: size_t, flags: c_int, to: *const sockaddr, to_length: socklen_t
    ) -> ssize_t = SYS_sendto(fd, data, length, flags, to, to_length);
    sam_direct_setitimer(timer: c_int, time: *const itimerval, before: *mut itimerval) -> c_int
        = SYS_setitimer(timer, time, before);
    sam_direct_setpgid(process: pid_t, group: pid_t) -> c_int = SYS_setpgid(process, group);
    sam_direct_signalfd(fd: c_int, mask: *const sigset_t, flags: c_int) -> c_int
        = SYS_signalfd4(fd, mask, MASK, flags);
    sam_direct_sigpending(set: *mut sigset_t) -> c_int = SYS_rt_sigpending(set, MASK);
    sam_direct_socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int = SYS_socket(domain, kind, protocol);
    sam_direct_statx(fd: c_int, path: *const c_char, flags: c_int, mask: c_uint, to: *mut statx) -> c_int
        = SYS_statx(fd, path, flags, mask, to);
    sam_direct_sysinfo(to: *mut sysinfo) -> c_int = SYS_sysinfo(to);
    sam_direct_waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> c_int
        = SYS_waitid(kind, id, info, options, ptr::null_mut::<c_void>());
    sam_direct_waitpid(process: pid_t, status: *mut c_int, options: c_int) -> pid_t
        = SYS_wait4(process, status, options, ptr::null_mut::<c_void>());
    sam_direct_write(fd: c_int, data: *const c_void, length: size_t) -> ssize_t = SYS_write(fd, data, length);
}

#[cfg(target_pointer_width = "64")]
calls! {
    sam_direct_fallocate64(fd: c_int, mode: c_int, offset: off64_t, length: off64_t) -> c_int
        = SYS_fallocate(fd, mode, offset, length);
    sam_direct_fcntl(fd: c_int, command: c_int, argument: c_ulong) -> c_int = SYS_fcntl(fd, command, argument);
    sam_direct_ftruncate64(fd: c_int, length: off64_t) -> c_int = SYS_ftruncate(fd, length);
}

#[cfg(all(target_pointer_width = "64", not(any(target_arch = "loongarch64", target_arch = "mips64"))))]
calls! {
    sam_direct_fstat64(fd: c_int, to: *mut stat64) -> c_int = SYS_fstat(fd, to);
    sam_direct_stat64(path: *const c_char, to: *mut stat64) -> c_int
        = SYS_newfstatat(libc::AT_FDCWD, path, to, 0);
}

#[cfg(target_pointer_width = "32")]
calls! {
    sam_direct_fallocate64(fd: c_int, mode: c_int, offset: off64_t, length: off64_t) -> c_int
        = SYS_fallocate(fd, mode, halves(offset)[0], halves(offset)[1], halves(length)[0], halves(length)[1]);
    sam_direct_fcntl(fd: c_int, command: c_int, argument: c_ulong) -> c_int = SYS_fcntl64(fd, command, argument);
    sam_direct_fstat64(fd: c_int, to: *mut stat64) -> c_int = SYS_fstat64(fd, to);
    sam_direct_stat64(path: *const c_char, to: *mut stat64) -> c_int
        = SYS_fstatat64(libc::AT_FDCWD, path, to, 0);
}

#[cfg(target_arch = "x86")]
calls! {
    sam_direct_ftruncate64(fd: c_int, length: off64_t) -> c_int
        = SYS_ftruncate64(fd, halves(length)[0], halves(length)[1]);
}

// These architectures pass both halves of a number in an even register and the next one, so one is left out.
#[cfg(all(target_pointer_width = "32", not(target_arch = "x86")))]
calls! {
    sam_direct_ftruncate64(fd: c_int, length: off64_t) -> c_int
        = SYS_ftruncate64(fd, 0, halves(length)[0], halves(length)[1]);
}

/// Returns the two arguments of a system call that a number of 64 bits takes, in the order of its bytes in memory.
#[cfg(target_pointer_width = "32")]
fn halves(number: off64_t) -> [c_ulong; 2] {
    let (low, high) = (number as c_ulong, (number >> c_ulong::BITS) as c_ulong);
    if cfg!(target_endian = "little") { [low, high] } else { [high, low] }
}

/// Returns the upper half of an offset, which preadv(2) and its siblings take as an argument of its own on every
/// architecture. Where the lower half has 64 bits, the kernel ignores it.
fn high_half(offset: off_t) -> c_long {
    if offset < 0 { -1 } else { 0 }
}

/// Does the same as ppoll(2) of the C library, by a system call of its own. So a function `ppoll` of the program is not
/// called by mistake, and a thread is not cancelled here.
///
/// # Safety
/// The conditions of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam_direct_ppoll(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: timeout is NULL or points to a time. The kernel gets a copy of it, which it changes.
    unsafe {
        let mut left = timeout.as_ref().copied();
        let (fds, mask) = (fds.expose_provenance(), mask.expose_provenance());
        TimedCall::PPOLL.make(&mut left, |left| [fds, count as usize, left, mask, MASK])
    }
}

/// Does the same as poll(2) of the C library, by the system call ppoll. So a function `poll` of the program is not
/// called by mistake, and a thread is not cancelled here.
///
/// # Safety
/// The conditions of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam_direct_poll(fds: *mut pollfd, count: nfds_t, timeout_ms: c_int) -> c_int {
    let time =
        timespec { tv_sec: (timeout_ms / 1000).into(), tv_nsec: c_long::from(timeout_ms % 1000) * 1_000_000 };
    let timeout = if timeout_ms < 0 { ptr::null() } else { &raw const time };
    // SAFETY: the conditions are the same, the time is there until the call is over.
    unsafe { sam_direct_ppoll(fds, count, timeout, ptr::null()) }
}

/// Does the same as clock_nanosleep(2) of the C library, by a system call of its own, and like that returns the error.
/// So a function of the program with that name is not called by mistake, and a thread is not cancelled here.
///
/// # Safety
/// The conditions of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam_direct_clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    time: *const timespec,
    left: *mut timespec,
) -> c_int {
    // SAFETY: time points to a time. The kernel gets a copy of it, and writes the time that is left there.
    let (result, rest) = unsafe {
        let mut rest = Some(*time);
        let call = TimedCall::CLOCK_NANOSLEEP;
        (call.make(&mut rest, |time| [clock as usize, flags as usize, time, time, 0]), rest)
    };
    if result == 0 {
        return 0;
    }
    // SAFETY: left is NULL or points to room for a time.
    if let (Some(left), Some(rest)) = (unsafe { left.as_mut() }, rest) {
        *left = rest;
    }
    super::errno()
}

/// As the C library's nanosleep(). Rust 1.85 sleeps by it, later versions by clock_nanosleep.
///
/// # Safety
/// The conditions of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam_direct_nanosleep(time: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: the conditions are the same. Linux uses this clock for nanosleep(2), too.
    match unsafe { sam_direct_clock_nanosleep(libc::CLOCK_MONOTONIC, 0, time, left) } {
        0 => 0,
        // clock_nanosleep() has set errno.
        _ => -1,
    }
}

/// As the C library's sigtimedwait().
///
/// # Safety
/// The conditions of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam_direct_sigtimedwait(
    signals: *const sigset_t,
    info: *mut siginfo_t,
    timeout: *const timespec,
) -> c_int {
    // SAFETY: timeout is NULL or points to a time. The other conditions are the same.
    unsafe {
        let mut timeout = timeout.as_ref().copied();
        let (signals, info) = (signals.expose_provenance(), info.expose_provenance());
        TimedCall::RT_SIGTIMEDWAIT.make(&mut timeout, |timeout| [signals, info, timeout, MASK, 0])
    }
}

/// Does the same as sigqueue(3) of the C library, by the system call rt_sigqueueinfo. So a function `sigqueue` of the
/// program is not called by mistake.
///
/// # Safety
/// The conditions of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam_direct_sigqueue(process: pid_t, signal: c_int, value: sigval) -> c_int {
    /// The first members of the kernel's siginfo_t of a signal that sigqueue(3) sends.
    #[repr(C)]
    struct Queued {
        signal: c_int,
        error: c_int,
        code: c_int,
        #[cfg(target_pointer_width = "64")]
        _padding: c_int,
        process: pid_t,
        user: libc::uid_t,
        value: sigval,
    }
    // The user ids of the older call have 16 bits.
    #[cfg(target_pointer_width = "32")]
    const GETUID: c_long = libc::SYS_getuid32;
    #[cfg(target_pointer_width = "64")]
    const GETUID: c_long = libc::SYS_getuid;
    // SAFETY: a siginfo_t is plain data and larger than its beginning, and the kernel reads one.
    unsafe {
        let mut info = MaybeUninit::<siginfo_t>::zeroed();
        let user = syscall(GETUID) as libc::uid_t;
        let queued = Queued {
            signal,
            error: 0,
            code: libc::SI_QUEUE,
            #[cfg(target_pointer_width = "64")]
            _padding: 0,
            process: sam_direct_getpid(),
            user,
            value,
        };
        info.as_mut_ptr().cast::<Queued>().write(queued);
        syscall(libc::SYS_rt_sigqueueinfo, process, signal, info.as_ptr()) as c_int
    }
}

/// Does the same as pthread_sigmask(3) of the C library, and returns the error. As there, the two signals that the C
/// library sends its own threads stay as they are. A function `pthread_sigmask` of the program is not called by mistake.
///
/// # Safety
/// `set` is NULL or points to a signal set, and `before` is NULL or points to room for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam_direct_pthread_sigmask(
    how: c_int,
    set: *const sigset_t,
    before: *mut sigset_t,
) -> c_int {
    // SAFETY: the caller promises a set or NULL, and room or NULL. The kernel gets a copy of the set.
    unsafe {
        let mut own = set.as_ref().copied();
        for signal in RESERVED_SIGNALS {
            if let (Some(own), Some((word, bit))) = (own.as_mut(), place_in_set(signal)) {
                *ptr::from_mut(own).cast::<c_ulong>().add(word) &= !bit;
            }
        }
        let own = own.as_ref().map_or(ptr::null(), ptr::from_ref);
        match syscall(libc::SYS_rt_sigprocmask, how, own, before, MASK) {
            0 => 0,
            _ => super::errno(),
        }
    }
}

/// The signals that the C library reserves (nptl(7)).
const RESERVED_SIGNALS: [c_int; 2] = [32, 33];

/// Does the same as sigemptyset(3) of the C library. A function `sigemptyset` of the program is not called by mistake.
///
/// # Safety
/// `set` points to room for a signal set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam_direct_sigemptyset(set: *mut sigset_t) -> c_int {
    // SAFETY: the caller promises the room.
    unsafe { set.write_bytes(0, 1) };
    0
}

/// Does the same as sigfillset(3) of the C library. A function `sigfillset` of the program is not called by mistake.
///
/// # Safety
/// `set` points to room for a signal set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam_direct_sigfillset(set: *mut sigset_t) -> c_int {
    // SAFETY: the caller promises the room.
    unsafe { set.write_bytes(0xff, 1) };
    0
}

/// Does the same as sigaddset(3) of the C library. A function `sigaddset` of the program is not called by mistake. A
/// number that is no signal sets errno to `EINVAL`.
///
/// # Safety
/// `set` points to a signal set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam_direct_sigaddset(set: *mut sigset_t, signal: c_int) -> c_int {
    let Some((word, bit)) = place_in_set(signal) else {
        super::set_errno(libc::EINVAL);
        return -1;
    };
    // SAFETY: a signal set is an array of such words, and has the bit.
    unsafe { *set.cast::<c_ulong>().add(word) |= bit };
    0
}

/// Does the same as sigismember(3) of the C library. A function `sigismember` of the program is not called by mistake.
/// A number that is no signal sets errno to `EINVAL`.
///
/// # Safety
/// `set` points to a signal set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sam_direct_sigismember(set: *const sigset_t, signal: c_int) -> c_int {
    let Some((word, bit)) = place_in_set(signal) else {
        super::set_errno(libc::EINVAL);
        return -1;
    };
    // SAFETY: a signal set is an array of such words, and has the bit.
    c_int::from(unsafe { *set.cast::<c_ulong>().add(word) } & bit != 0)
}

/// Returns the index of the word of a `sigset_t` that contains the bit of `signal`, and a word with that bit alone.
/// Returns `None` if a `sigset_t` has no bit for that number.
fn place_in_set(signal: c_int) -> Option<(usize, c_ulong)> {
    let number = usize::try_from(signal - 1).ok().filter(|&number| number < 8 * size_of::<sigset_t>())?;
    let bits = c_ulong::BITS as usize;
    Some((number / bits, 1 << (number % bits)))
}

/// Defines functions that replace functions of the C library within this library, and are more than a system call. Each
/// asks the dynamic linker for the C library's function, and does not find one of the program that has the same name.
macro_rules! others {
    ($($name:ident = $real:literal ($($argument:ident: $type:ty),*) -> $result:ty;)+) => {
        $(
            /// Calls the C library's function of that name. A function of the program that has the same name is not
            /// called by mistake: this asks the dynamic linker for the function in the libraries that come after this
            /// one (RTLD_NEXT in dlsym(3)).
            ///
            /// # Safety
            /// The conditions of the C library's function.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                static REAL: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
                let mut real = REAL.load(Ordering::Relaxed);
                if real.is_null() {
                    real = next($real);
                    REAL.store(real, Ordering::Relaxed);
                }
                // SAFETY: the C library has a function of that name and type, and the caller keeps to its conditions.
                unsafe {
                    let real = std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> $result>(real);
                    real($($argument),*)
                }
            }
        )+
    };
}

others! {
    sam_direct_clone = c"clone"(
        start: extern "C" fn(*mut c_void) -> c_int, stack: *mut c_void, flags: c_int, argument: *mut c_void
    ) -> c_int;
    sam_direct_closedir = c"closedir"(folder: *mut c_void) -> c_int;
    sam_direct_dirfd = c"dirfd"(folder: *mut c_void) -> c_int;
    sam_direct_localtime_r = c"localtime_r"(time: *const c_void, to: *mut c_void) -> *mut c_void;
    sam_direct_opendir = c"opendir"(path: *const c_char) -> *mut c_void;
    sam_direct_readdir64 = c"readdir64"(folder: *mut c_void) -> *mut c_void;
    sam_direct_secure_getenv = c"secure_getenv"(name: *const c_char) -> *mut c_char;
    sam_direct_sysconf = c"sysconf"(name: c_int) -> c_long;
}

/// Returns the address of the C library's function `name`: the dynamic linker searches only the libraries that come
/// after this one (RTLD_NEXT in dlsym(3)). Ends the process if there is none, which cannot be, because this library
/// would not have been loaded.
fn next(name: &std::ffi::CStr) -> *mut c_void {
    // SAFETY: the name is a string.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    if found.is_null() {
        std::process::abort();
    }
    found
}
