//! The supervisor: what stays behind in the process that called `sam_register`.
//!
//! `event_loop` turns what the kernel says into events, `machine` answers each with effects, `event_loop` carries
//! them out. Every decision is in the machine, every system call outside it.

pub mod event_loop;
pub mod group;
pub mod heir;
pub mod machine;
pub mod newborn;
pub mod notice;
pub mod notifier;
pub mod publisher;
pub mod restarts;
pub mod showcase;
pub mod summary;
