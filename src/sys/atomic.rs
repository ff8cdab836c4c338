//! The atomic types that shared memory is made of. The loom models in `loom/` compile the same source with loom's types
//! instead.

pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
