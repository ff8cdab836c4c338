//! The board and the store of libsam, built from their own source, on memory that loom watches: the models in
//! `tests/` run them in every order that the memory model of C and Rust allows.

#![allow(missing_docs, dead_code)] // of what is shared, the models use a part

#[path = "../../src/board.rs"]
pub mod board;
#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/store.rs"]
pub mod store;
pub mod sys;
