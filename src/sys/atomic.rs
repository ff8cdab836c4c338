//! The atomic words of shared memory. The models in `loom/` put loom's in their place.

pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
