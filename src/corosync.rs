//! Talking with corosync, in a process of its own.
//!
//! The supervisor forks the *side process* and shares a page with it, the [`desk`]: there it finds whether the
//! partition is quorate, and leaves what cmap is to show. Two event descriptors wake one and the other. Only the
//! side process opens corosync's libraries; where corosync blocks it, nobody waits; where it is blocked for too long
//! it is killed and made anew.
//!
//! An instance that wants something rings the [`Doorbell`], a futex that the side process listens to: so it needs no
//! descriptor for it.

#![forbid(unsafe_code)]

pub mod desk;
pub mod keys;
pub mod link;
pub mod record;
pub mod side;

use std::sync::atomic::Ordering;

use crate::sys::bell::Bell;
use crate::sys::futex;
use crate::sys::shared_page::SharedPage;
use desk::Desk;

/// What an instance rings when it wants something of its supervisor. What it wants is on its board.
#[derive(Debug)]
pub struct Doorbell(SharedPage);

impl Doorbell {
    fn new() -> nix::Result<Doorbell> {
        SharedPage::new().map(Doorbell)
    }

    /// Rings.
    pub fn ring(&self) {
        let word = &self.0.futexes()[0];
        word.fetch_add(1, Ordering::Release);
        futex::wake_all(word);
    }

    fn rings(&self) -> u32 {
        self.0.futexes()[0].load(Ordering::Acquire)
    }

    /// Sleeps until it has rung since `heard`.
    fn sleep(&self, heard: u32) {
        while self.rings() == heard {
            futex::wait(&self.0.futexes()[0], heard, None);
        }
    }
}

/// All that connects supervisor and side process.
#[derive(Debug)]
pub struct Wiring {
    desk: Desk,
    bell: Doorbell,
    to_supervisor: Bell,
    to_side: Bell,
}

impl Wiring {
    fn new() -> nix::Result<Wiring> {
        Ok(Wiring {
            desk: Desk::new()?,
            bell: Doorbell::new()?,
            to_supervisor: Bell::new()?,
            to_side: Bell::new()?,
        })
    }
}
