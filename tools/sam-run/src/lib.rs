//! The decisions of sam-run, without a system call: what the options mean, what a notification says, and what follows
//! from what happens to the program.

#![forbid(unsafe_code)]

pub mod message;
pub mod options;
pub mod state;
pub mod values;
