//! The control page and the data store of libsam, built from their own source, on memory that loom watches: the models in
//! `tests/` run them in every order that the memory model of C and Rust allows.

#![allow(missing_docs, dead_code)] // of what is shared, the models use a part

#[path = "../../src/error.rs"]
pub mod error;
/// Memory that processes share.
#[path = "../../src/shared"]
pub mod shared {
    pub mod control_page;
    pub mod data_store;
    pub mod status_page;
}
pub mod sys;
#[path = "../../src/time.rs"]
pub mod time;
