//! libsam, the Simple Availability Manager: turns any program into a supervised one.
//!
//! `sam_register` forks. The calling process becomes the supervisor, and its child, the instance, goes on with the
//! application. ARCHITECTURE.md tells how the processes work together. Each module belongs to one process:
//!
//! | module | runs in |
//! |---|---|
//! | [`capi`] | the program: the functions that C calls |
//! | [`instance`] | the program before `sam_register`, and every instance |
//! | [`supervisor`] | the supervisor |
//! | [`cluster`] | the cluster helper, which talks to corosync |
//! | [`shared`] | none of them alone: memory that two of them map |
//! | [`sys`] | all of them: system calls as small safe functions |
//! | [`error`], [`policy`], [`settings`], [`log`], [`time`] | all of them: types and values |
//!
//! `unsafe` is in [`capi`] and [`sys`], and at the two calls of [`sys::process::fork`]. C types end at [`capi`].
//! [`policy`], [`error`] and [`supervisor::machine`] make no system call and read no clock.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod capi;
pub mod cluster;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz_targets;
pub mod instance;
pub mod log;
pub mod policy;
pub mod settings;
pub mod shared;
pub mod supervisor;
pub mod sys;
pub mod time;
