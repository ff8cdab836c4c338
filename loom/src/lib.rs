//! The control page and the data store of libsam, built from their own source on memory that loom models. The tests in
//! `tests/` run them in every order that the memory model of C and Rust allows.

#![allow(missing_docs, dead_code)] // the models use a part of the shared source

#[path = "../../src/error.rs"]
pub mod error;
/// The modules about memory between processes.
#[path = "../../src/shared"]
pub mod shared {
    pub mod control_page;
    pub mod data_store;
    pub mod status_page;
}
pub mod sys;
#[path = "../../src/time.rs"]
pub mod time;
