//! The supervisor: the process that called `sam_register`, from then on.
//!
//! [`event_loop`] turns what the kernel reports into events, [`machine`] answers each event with effects, and
//! `event_loop` carries the effects out. Every decision is in `machine`, and every system call is outside of it.

pub mod backoff;
pub mod cmap_requests;
pub mod daemonized;
pub mod event_loop;
pub mod helper_handle;
pub mod kill_group;
pub mod log_event;
pub mod machine;
pub mod queue;
pub mod restarts;
pub mod service_manager;
pub mod status_writer;
pub mod summary;
