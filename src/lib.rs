//! libsam, the Simple Availability Manager: turns any program into a supervised one.
//!
//! # Architecture
//!
//! `sam_register` forks. The calling process becomes the *supervisor*; its child, the *instance*, goes on with
//! the application. When the instance dies or falls silent, the supervisor forks the next one, which returns
//! from the same call with memory as it was there.
//!
//! ```text
//!   service manager ── signals, status ──┐
//!                                        ▼
//!   ┌───────────────────────────────────────┐  fork   ┌──────────────────────────┐
//!   │ supervisor (the pid that was started) │────────▶│ instance 1, 2, 3, ..     │
//!   │  event_loop: kernel ⇄ machine         │◀────────│  the application         │
//!   └───────────────────────────────────────┘  death  └──────────────────────────┘
//!            ▲   reads when the kernel wakes it           │ stores single words
//!            └──────────────── board (one page) ◀─────────┘
//! ```
//!
//! **The page is the protocol.** Instance and supervisor tell each other everything through one page of memory, the
//! [`board`]: no pipe, no socket, no message. The instance stores single atomic words; the supervisor reads them when
//! the kernel wakes it, and whatever it finds is a whole state. An instance that closes every descriptor, runs
//! under seccomp, has dropped its privileges or writes rubbish is still supervised. Beside the page they share the
//! [`store`], which the supervisor keeps for the instances and never reads, and with quorum or cmap the doorbell of
//! [`corosync`].
//!
//! 1. A heartbeat: [`capi`] → [`session`] (started?) → [`board`]: one time stamp stored. Nobody is woken.
//! 2. A command is a state: `sam_start`, `sam_stop`, `sam_warn_signal_set` store a word. The supervisor ticks
//!    once per interval, also while stopped; a start at time S has its first deadline at S + interval, never
//!    before the next tick, so it is never seen late and needs no wake-up.
//! 3. A deadline or a death: [`supervisor::event_loop`] turns kernel facts (timer, pidfd, signals) into events,
//!    [`supervisor::machine`] answers with effects, the loop carries them out. All policy is in the machine.
//! 4. User data: [`session`] → [`store`]: buffers in memory files, one word commits. The supervisor never copies it. A
//!    lock without a system call ([`sys::reentrant`]) keeps other threads out and lets in the signal handlers of the
//!    thread that holds it: for them there is a third buffer. Before `sam_register` the buffers are private memory, so
//!    that each of the programs that fork until then has data of its own.
//! 5. Event driven checks: [`callback`], a thread in the instance that asks the application and sends the
//!    heartbeats. When the callback objects, the instance warns itself and leaves word on the board; the kill
//!    comes from the supervisor at its next tick, which is never later than one interval after that.
//! 6. The supervisor's end: the kernel marks a robust futex on the board ([`sys::lifeline`]), which every call
//!    looks at, and sends the instance SIGTERM.
//! 7. Quorum and cmap: [`corosync`], a process beside the supervisor does all talking with corosync, which may block
//!    it for as long as it likes. They share a page, the [`corosync::desk`]: the supervisor leaves there what cmap
//!    is to show, and finds there what is known of quorum and what can be read in cmap. It never waits; a side
//!    process that does not get on with its work is killed and made anew. An instance that starts or stops rings a
//!    futex that the side process listens to for the supervisor, and sleeps on its board until it is answered.
//! 8. What operators see: a page of the supervisor says how it stands ([`status`]). That page and each board are memory
//!    files of their own, whose descriptors the supervisor alone has. `sam-status` finds them in /proc and reads them. An
//!    instance has its own board and no other page, and no board is ever used for two instances.
//!
//! 9. The warm spare, on request: the next instance, forked in advance. It waits on its own board, in a process group
//!    of its own, until it is released; the supervisor releases it where it would fork, and does nothing else until
//!    it runs.
//! 10. Memory: the library's own small allocations come from a few blocks of its own first ([`sys::heap`]), so
//!     supervisor and signal handlers depend on no heap that the application has filled or damaged.
//! 11. Panics unwind to the C edge ([`capi`], `guard`), which makes an error of them. A panic hook sends the message to the
//!     log; std's own would print to a stream of the application.
//! 12. A lack of memory: std ends the process, so nothing here asks for memory that it cannot do without. Small
//!     allocations come from the library's own blocks, long lists grow only if they can ([`sys::heap`]), and the data
//!     that an application stores is mapped.
//!
//! **Rooms.** [`policy`], [`error`] and [`supervisor::machine`] are pure: no system call, no clock but the `now`
//! they are given. `unsafe` lives in [`capi`] and [`sys`] alone. C types stop at [`capi`].
//!
//! **Time** is CLOCK_MONOTONIC in ns throughout.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod board;
pub mod callback;
pub mod capi;
pub mod corosync;
pub mod environment;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod log;
pub mod policy;
pub mod session;
pub mod status;
pub mod store;
pub mod supervisor;
pub mod sys;
