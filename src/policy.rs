//! The recovery policy, which the application passes to `sam_initialize`.

#![forbid(unsafe_code)]

use std::fmt;

use crate::error::{Error, Result};

/// The bits of the C type `sam_recovery_policy_t`.
pub mod bits {
    /// SAM_RECOVERY_POLICY_QUIT: the supervisor ends when its instance has failed.
    pub const QUIT: u32 = 0x01;
    /// SAM_RECOVERY_POLICY_RESTART: the supervisor starts the next instance when one has failed.
    pub const RESTART: u32 = 0x02;
    /// SAM_RECOVERY_POLICY_QUORUM: instances run only while the cluster partition is quorate.
    pub const QUORUM: u32 = 0x08;
    /// SAM_RECOVERY_POLICY_CMAP: the cluster helper publishes the state of the supervisor in corosync's cmap.
    pub const CMAP: u32 = 0x10;
}

/// The reaction of the supervisor to the failure of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recovery {
    /// The supervisor ends with the exit status of the failed instance.
    Quit,
    /// The supervisor starts the next instance when one has failed.
    Restart,
}

/// A valid recovery policy: QUIT or RESTART, each with or without QUORUM and CMAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The reaction of the supervisor to the failure of an instance: end, or start the next one.
    pub recovery: Recovery,
    /// `true` if instances run only while the cluster partition is quorate.
    pub quorum: bool,
    /// `true` if the cluster helper publishes the state of the supervisor in corosync's cmap.
    pub cmap: bool,
}

impl Policy {
    /// Converts the number that a C program passes as `sam_recovery_policy_t`: QUIT or RESTART, each with or without
    /// QUORUM and CMAP.
    ///
    /// # Errors
    /// `InvalidArgument` for all other values.
    pub fn from_bits(value: u32) -> Result<Policy> {
        let recovery = match value & !(bits::QUORUM | bits::CMAP) {
            bits::QUIT => Recovery::Quit,
            bits::RESTART => Recovery::Restart,
            _ => return Err(Error::InvalidArgument),
        };
        Ok(Policy { recovery, quorum: value & bits::QUORUM != 0, cmap: value & bits::CMAP != 0 })
    }

    /// Returns the policy as the number that C programs use for it, a `sam_recovery_policy_t`.
    pub fn bits(self) -> u32 {
        let recovery = match self.recovery {
            Recovery::Quit => bits::QUIT,
            Recovery::Restart => bits::RESTART,
        };
        let flag = |set, bit| if set { bit } else { 0 };
        recovery | flag(self.quorum, bits::QUORUM) | flag(self.cmap, bits::CMAP)
    }
}

/// The policy as sam-status and the log show it, such as `restart+quorum`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.recovery {
            Recovery::Quit => "quit",
            Recovery::Restart => "restart",
        })?;
        for (is_set, name) in [(self.quorum, "quorum"), (self.cmap, "cmap")] {
            if is_set {
                write!(f, "+{name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_other_than_quit_or_restart_with_flags_is_refused() {
        let good: Vec<u32> = (0..=0xffff).filter(|&bits| Policy::from_bits(bits).is_ok()).collect();
        assert!(good.iter().all(|&bits| Policy::from_bits(bits).unwrap().bits() == bits));
        assert_eq!(good, [0x01, 0x02, 0x09, 0x0a, 0x11, 0x12, 0x19, 0x1a]);
        assert!(Policy::from_bits(u32::MAX).is_err());
    }

    #[test]
    fn bits_set_the_fields_of_the_policy() {
        let policy = Policy::from_bits(bits::RESTART | bits::CMAP).unwrap();
        assert_eq!(policy, Policy { recovery: Recovery::Restart, quorum: false, cmap: true });
    }
}
