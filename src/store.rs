//! User data that survives the instance: two files in memory, and one word that says which holds the data and
//! how much. A store writes the other file, then flips the word: cut off before that, it never happened.

#![deny(unsafe_code)]

use crate::error::{Error, Result};
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::foreign::{Bytes, Room};
use crate::sys::memory_file::MemoryFile;
use crate::sys::shared_page::SharedPage;

/// The data of a session, shared by the supervisor and all its instances.
#[derive(Debug)]
pub struct Store {
    header: SharedPage,
    slots: [MemoryFile; 2],
}

/// What the header's word says: the number of the slot in the lowest bit, the size in bytes in the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Committed {
    slot: usize,
    size: usize,
}

impl Committed {
    fn from_word(word: u64) -> Committed {
        Committed { slot: (word & 1) as usize, size: (word >> 1) as usize }
    }

    fn to_word(self) -> u64 {
        (self.size as u64) << 1 | self.slot as u64
    }
}

impl Store {
    /// An empty store.
    pub fn new() -> Result<Store> {
        Ok(Store {
            header: SharedPage::new()?,
            slots: [MemoryFile::create(c"sam-data-0")?, MemoryFile::create(c"sam-data-1")?],
        })
    }

    /// Header and slots, as an instance that is not trusted has them.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn exposed(&self) -> (&SharedPage, &[MemoryFile; 2]) {
        (&self.header, &self.slots)
    }

    fn word(&self) -> &AtomicU64 {
        &self.header.words()[0]
    }

    fn committed(&self) -> Committed {
        Committed::from_word(self.word().load(Ordering::Acquire))
    }

    /// Bytes stored. What an earlier instance claims to have stored but did not counts as nothing.
    pub fn size(&mut self) -> Result<usize> {
        Ok(self.readable()?.size)
    }

    fn readable(&mut self) -> Result<Committed> {
        let committed = self.committed();
        match self.slots[committed.slot].reach(committed.size) {
            Ok(()) => Ok(committed),
            Err(Error::Internal) => Ok(Committed { size: 0, ..committed }),
            Err(error) => Err(error),
        }
    }

    /// Keeps `data` in place of what was stored; no bytes forget it. After an error what was stored is intact.
    pub fn store(&mut self, data: Bytes<'_>) -> Result<()> {
        if data.len() >= isize::MAX as usize {
            return Err(Error::TooBig);
        }
        let slot = 1 - self.committed().slot;
        if !data.is_empty() {
            self.slots[slot].write(data)?;
        }
        self.word().store(Committed { slot, size: data.len() }.to_word(), Ordering::Release);
        Ok(())
    }

    /// Copies what is stored to the start of `room`; nothing when nothing is stored.
    pub fn restore(&mut self, room: Room<'_>) -> Result<()> {
        let Committed { slot, size } = self.readable()?;
        if size > room.len() {
            return Err(Error::InvalidArgument);
        }
        self.slots[slot].read(room, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(store: &mut Store, data: &[u8]) -> Result<()> {
        store.store(data.into())
    }

    fn restore(store: &mut Store, room: usize) -> Result<Vec<u8>> {
        let mut data = vec![0xee; room];
        store.restore(data[..].as_mut().into())?;
        Ok(data)
    }

    #[test]
    fn the_last_store_is_what_is_restored() {
        let mut kept = Store::new().unwrap();
        assert_eq!(kept.size(), Ok(0));
        assert_eq!(restore(&mut kept, 3).unwrap(), [0xee; 3], "nothing stored, nothing written");
        for data in [&b"one"[..], b"a longer second", b"3", &[9; 100_000], b"four"] {
            store(&mut kept, data).unwrap();
            assert_eq!(kept.size(), Ok(data.len()));
            assert_eq!(restore(&mut kept, data.len()).unwrap(), data);
            assert_eq!(restore(&mut kept, data.len() - 1), Err(Error::InvalidArgument));
        }
        store(&mut kept, b"").unwrap();
        assert_eq!(kept.size(), Ok(0));
    }

    #[test]
    #[allow(unsafe_code)]
    fn what_cannot_be_stored_leaves_what_was() {
        let mut kept = Store::new().unwrap();
        store(&mut kept, b"precious").unwrap();
        for (size, error) in [
            (usize::MAX, Error::TooBig),
            (isize::MAX as usize, Error::TooBig),
            (isize::MAX as usize - 1, Error::NoMemory),
            (1 << 46, Error::NoMemory),
        ] {
            // SAFETY: the store is refused, so nothing is promised.
            let data = unsafe { Bytes::new(b"x".as_ptr(), size) };
            assert_eq!(kept.store(data), Err(error), "{size} bytes");
            assert_eq!(restore(&mut kept, 8).unwrap(), b"precious");
        }
    }

    #[test]
    fn a_file_that_is_longer_than_its_memory_is_an_empty_store() {
        let mut kept = Store::new().unwrap();
        nix::unistd::ftruncate(kept.slots[0].exposed(), 1 << 40).unwrap();
        for size in [1, 5000, 1 << 40] {
            kept.word().store(size << 1, Ordering::Relaxed);
            assert_eq!(kept.size(), Ok(0), "{size} bytes");
        }
        store(&mut kept, b"def").unwrap();
        assert_eq!(restore(&mut kept, 3).unwrap(), b"def");
    }

    #[test]
    fn a_header_that_lies_is_an_empty_store() {
        let mut kept = Store::new().unwrap();
        store(&mut kept, b"abc").unwrap();
        for word in [u64::MAX, u64::MAX - 1, 1 << 40, 100_000 << 1] {
            kept.word().store(word, Ordering::Relaxed);
            assert_eq!(kept.size(), Ok(0), "word {word:x}");
            restore(&mut kept, 10).unwrap();
            store(&mut kept, b"def").unwrap();
            assert_eq!(restore(&mut kept, 3).unwrap(), b"def");
        }
    }
}
