//! The supervisor: what stays behind in the process that called `sam_register`.
//!
//! `event_loop` turns what the kernel says into events, `machine` answers each with effects, `event_loop` carries
//! them out. Every decision is in the machine, every system call outside it.

pub mod backoff;
pub mod cmap_requests;
pub mod daemonized;
pub mod event_loop;
pub mod helper_handle;
pub mod kill_group;
pub mod log_event;
pub mod machine;
pub mod restarts;
pub mod service_manager;
pub mod status_writer;
pub mod summary;
