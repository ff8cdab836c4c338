//! The recovery policy: parsed once, asked everywhere.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};

/// The values of `sam_recovery_policy_t`.
pub mod bits {
    /// End the supervisor when the instance is lost.
    pub const QUIT: u32 = 0x01;
    /// Start the next instance when one is lost.
    pub const RESTART: u32 = 0x02;
    /// Run only while the cluster partition is quorate.
    pub const QUORUM: u32 = 0x08;
    /// Show the state in corosync's cmap.
    pub const CMAP: u32 = 0x10;
}

/// What happens after an instance was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recovery {
    /// The supervisor ends as the instance did.
    Quit,
    /// The next instance is started.
    Restart,
}

/// A recovery policy that passed its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What happens after an instance was lost.
    pub recovery: Recovery,
    /// Run only while the cluster partition is quorate.
    pub quorum: bool,
    /// Show the state in corosync's cmap.
    pub cmap: bool,
}

impl Policy {
    /// Reads the bits that C hands over: QUIT or RESTART, each with or without QUORUM and CMAP.
    pub fn from_bits(value: u32) -> Result<Policy> {
        let recovery = match value & !(bits::QUORUM | bits::CMAP) {
            bits::QUIT => Recovery::Quit,
            bits::RESTART => Recovery::Restart,
            _ => return Err(Error::InvalidArgument),
        };
        Ok(Policy { recovery, quorum: value & bits::QUORUM != 0, cmap: value & bits::CMAP != 0 })
    }

    /// The bits again.
    pub fn bits(self) -> u32 {
        let recovery = match self.recovery {
            Recovery::Quit => bits::QUIT,
            Recovery::Restart => bits::RESTART,
        };
        let flag = |set, bit| if set { bit } else { 0 };
        recovery | flag(self.quorum, bits::QUORUM) | flag(self.cmap, bits::CMAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quit_or_restart_with_or_without_the_two_flags_is_a_policy() {
        let good: Vec<u32> = (0..=0xffff).filter(|&bits| Policy::from_bits(bits).is_ok()).collect();
        assert!(good.iter().all(|&bits| Policy::from_bits(bits).unwrap().bits() == bits));
        assert_eq!(good, [0x01, 0x02, 0x09, 0x0a, 0x11, 0x12, 0x19, 0x1a]);
        assert!(Policy::from_bits(u32::MAX).is_err());
    }

    #[test]
    fn the_bits_mean_what_they_say() {
        let policy = Policy::from_bits(bits::RESTART | bits::CMAP).unwrap();
        assert_eq!(policy, Policy { recovery: Recovery::Restart, quorum: false, cmap: true });
    }
}
