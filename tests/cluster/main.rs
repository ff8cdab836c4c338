//! Quorum, cmap and the cluster, with real corosync daemons on machines of their own (namespaces).
//!
//! They need root, so `cargo test` alone leaves them out and says so; `make check` runs them where it can.

#[path = "../common/mod.rs"]
mod common;
mod corosync;
mod namespace;
mod program;

mod cmap;
mod example;
mod outage;
mod partition;
mod quorum;
mod watchdog;

use std::time::Duration;

/// Recovery policies, as the steps program is told them.
const QUIT: u32 = 0x01;
const RESTART: u32 = 0x02;
const QUORUM: u32 = 0x08;
const CMAP: u32 = 0x10;

/// How late anything may be on a busy machine, in ms. Whatever would wait for a frozen corosync, or run on without
/// quorum, would do so for as long as the test lasts.
const LATE: u64 = 20_000;

/// CLOCK_MONOTONIC in ms.
fn now() -> u64 {
    sam::sys::clock::now() / 1_000_000
}

/// Gives what must not happen the time to happen.
fn watch_for(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}
