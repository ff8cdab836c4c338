//! The code that runs in the program before `sam_register`, and in every instance after it.

pub mod callback_thread;
pub mod forked_child;
pub mod session;
