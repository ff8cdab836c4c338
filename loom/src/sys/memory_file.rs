//! A memory file of a few bytes. The bytes are separate atomic words without any order of their own, so the models
//! check the order that the data store makes.

use std::ffi::CStr;
use std::sync::Arc;

use loom::sync::atomic::{AtomicU8, Ordering};

use super::ffi_buf::{InBuf, OutBuf};
use crate::error::{Error, Result};

const LENGTH: usize = 2;

#[derive(Debug)]
pub struct MemoryFile(Arc<[AtomicU8; LENGTH]>);

impl MemoryFile {
    pub fn create(_name: &CStr) -> nix::Result<MemoryFile> {
        Ok(MemoryFile(super::machine::memory(|| std::array::from_fn(|_| AtomicU8::new(0)))))
    }

    pub fn private() -> MemoryFile {
        MemoryFile(Arc::new(std::array::from_fn(|_| AtomicU8::new(0))))
    }

    pub fn write(&self, start: usize, data: InBuf<'_>) -> Result<()> {
        self.reach(start + data.len())?;
        let mut bytes = [0; LENGTH];
        // SAFETY: `bytes` has room for LENGTH bytes, which `reach` has checked.
        unsafe { data.copy_to(bytes.as_mut_ptr()) };
        for (byte, value) in self.0[start..].iter().zip(bytes).take(data.len()) {
            byte.store(value, Ordering::Relaxed);
        }
        Ok(())
    }

    pub fn read(&self, start: usize, mut room: OutBuf<'_>) -> Result<()> {
        self.reach(start + room.len())?;
        let bytes: Vec<u8> =
            self.0[start..start + room.len()].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        // SAFETY: `bytes` holds as many bytes as `room` takes.
        unsafe { room.fill(bytes.as_ptr()) };
        Ok(())
    }

    pub fn reach(&self, length: usize) -> Result<()> {
        if length <= LENGTH { Ok(()) } else { Err(Error::Internal) }
    }

    pub fn reserve(&self, length: usize) -> Result<()> {
        self.reach(length).map_err(|_| Error::NoMemory)
    }

    pub fn copy_to(&self, target: &MemoryFile, length: usize) -> Result<()> {
        let mut bytes = [0; LENGTH];
        self.read(0, bytes[..length].as_mut().into())?;
        target.write(0, bytes[..length].into())
    }

    /// Returns `false`, because the model never has more memory than it needs.
    pub fn is_wasteful(&self, _length: usize) -> bool {
        false
    }

    pub fn give_back(&self, _length: usize) {}

    pub fn survey(&self) {}
}
