//! The decisions of sam-run, without a system call: the meaning of the options and of notifications, and the steps that
//! follow from events of the program.

#![forbid(unsafe_code)]

pub mod message;
pub mod options;
pub mod state;
pub mod values;
