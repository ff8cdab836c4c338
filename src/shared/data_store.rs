//! The data of `sam_data_store`, which survives the instance: two slots of memory, and one word that says which slot
//! holds the data and how much there is. A store writes to the other slot, then changes the word. If the instance dies
//! before that, the earlier data is whole.
//!
//! Until `sam_register` the slots are private memory, so that a process which the program forks has data of its own.
//! Then they become memory files, which the supervisor and all its instances share.
//!
//! All signals are blocked while a slot is written or read. Large data is stored in parts, and signals arrive between
//! two parts, so that handlers can send heartbeats. If a handler or another thread stores meanwhile, the interrupted
//! store begins again and copies everything at once.
//!
//! Memory is given back when the data becomes much smaller, so that large data that was forgotten takes none.

#![forbid(unsafe_code)]

use std::mem;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::ffi_buf::{InBuf, OutBuf};
use crate::sys::lock::{Lock, Locked};
use crate::sys::memory_file::MemoryFile;
use crate::sys::shared_page::SharedPage;

/// The number of bytes of the stored data that are copied before signals can arrive again. A copy of that size takes
/// less than 0.1 ms.
const PART: usize = 256 * 1024;

/// The data that the application has stored by `sam_data_store`, for later instances.
#[derive(Debug)]
pub struct DataStore(Lock<Slots>);

impl DataStore {
    /// Makes a data store that contains nothing, in memory of this process alone. `sam_register` later replaces it by
    /// memory that all instances share.
    pub fn empty() -> DataStore {
        DataStore::of(Slots::private())
    }

    /// Makes a data store in the memory `slots`.
    pub fn of(slots: Slots) -> DataStore {
        DataStore(Lock::new(slots))
    }

    /// Blocks all signals, and takes the lock that guards the memory of the data store. Waits while other threads hold
    /// it. `sam_register` holds the lock while it moves the data to shared memory, so that no store of another thread
    /// is lost.
    ///
    /// # Errors
    /// `WrongState` if this process has become a supervisor, which closes the lock.
    pub fn lock(&self) -> Result<Locked<'_, Slots>> {
        self.0.lock().ok_or(Error::WrongState)
    }

    /// Returns the memory of the data store: its header page, and the two files for the data. For tests and fuzz
    /// targets, which damage it as a hostile instance can.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn exposed(&mut self) -> (&SharedPage, &[MemoryFile]) {
        let slots = self.0.get_mut();
        let Header::Shared(page) = &slots.header else { panic!("the slots are not shared") };
        (page, &slots.files)
    }

    /// Returns the number of bytes that the application has stored. If a hostile instance has written a size that the
    /// memory does not have, returns 0.
    ///
    /// # Errors
    /// `WrongState` in a supervisor. The errors of [`MemoryFile::reach`] but `Internal`.
    pub fn size(&self) -> Result<usize> {
        Ok(self.lock()?.readable()?.size)
    }

    /// Stores `data` for later instances, in place of the data that was stored before. No bytes: only the earlier data
    /// is removed.
    ///
    /// # Errors
    /// `TooBig` for `isize::MAX` bytes or more, `WrongState` in a supervisor, and the errors of
    /// [`MemoryFile::reserve`]. The earlier data is intact.
    pub fn store(&self, data: InBuf<'_>) -> Result<()> {
        if data.len() >= isize::MAX as usize {
            return Err(Error::TooBig);
        }
        if data.len() > PART && self.store_in_parts(data)? {
            return Ok(());
        }
        // A fault with all signals blocked would kill the process: the application's handler runs here.
        data.touch();
        let mut slots = self.lock()?;
        let (slot, _) = slots.begin(data.len())?;
        if !data.is_empty() {
            slots.files[slot].write(0, data)?;
        }
        slots.commit(slot, data.len());
        Ok(())
    }

    /// Stores data that is larger than [`PART`] in several steps, and lets signals arrive between them. Returns `false`
    /// if a signal handler or another thread stored other data meanwhile: this store has not happened, and the caller
    /// begins again.
    fn store_in_parts(&self, data: InBuf<'_>) -> Result<bool> {
        let (slot, begun) = self.lock()?.begin(data.len())?;
        for part in parts(data.len()) {
            let bytes = data.part(part.clone());
            bytes.touch();
            let slots = self.lock()?;
            if slots.begun != begun {
                return Ok(false);
            }
            slots.files[slot].write(part.start, bytes)?;
            if part.end == data.len() {
                slots.commit(slot, data.len());
            }
        }
        Ok(true)
    }

    /// Copies the stored data to the start of `room`, with all signals blocked. Copies nothing if nothing is stored.
    /// The bytes of `room` behind the data do not change. For that the copy is one step: a handler between two steps
    /// could store less data.
    ///
    /// # Errors
    /// `InvalidArgument` if the data is larger than the room, and the errors of [`size`](DataStore::size). Nothing was
    /// copied in these cases.
    pub fn restore(&self, mut room: OutBuf<'_>) -> Result<()> {
        let size = self.size()?;
        if size <= room.len() {
            room.part(0..size).touch();
        }
        let slots = self.lock()?;
        let Committed { slot, size } = slots.readable()?;
        if size > room.len() {
            return Err(Error::InvalidArgument);
        }
        slots.files[slot].read(0, room.part(0..size))
    }
}

/// Returns the ranges of bytes, of at most [`PART`] bytes each, in which data of `length` bytes is copied. Signals can
/// arrive between two of them.
fn parts(length: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(PART).map(move |start| start..length.min(start.saturating_add(PART)))
}

/// The memory of a data store: two slots, each of which can contain the data, and a header page that says which of them
/// does. Used under the lock of a [`DataStore`].
#[derive(Debug)]
pub struct Slots {
    header: Header,
    files: [MemoryFile; 2],
    /// Another process may have stored since this one was forked, so the size of the files is not known.
    is_unknown: bool,
    /// The number of times that this process has begun to store data here. A store in several steps sees by it that
    /// another one has begun.
    begun: u64,
}

/// The place of the header word of a data store.
#[derive(Debug)]
enum Header {
    /// Shared by this process and those that it forks.
    Shared(SharedPage),
    /// A forked process gets a copy.
    Private(AtomicU64),
}

/// The header word of a data store: the index of the slot that contains the data in the lowest bit, and the size of the
/// data in bytes in the other bits. Every word is valid, so that a store becomes valid by one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Committed {
    slot: usize,
    size: usize,
}

impl Committed {
    fn from_word(word: u64) -> Committed {
        // No slot has usize::MAX bytes.
        Committed { slot: (word & 1) as usize, size: usize::try_from(word >> 1).unwrap_or(usize::MAX) }
    }

    fn to_word(self) -> u64 {
        ((self.size as u64) << 1) | self.slot as u64
    }
}

impl Slots {
    /// Makes memory for a data store that this process shares with all that it forks. It contains no data.
    ///
    /// # Errors
    /// The error of memfd_create(2) or mmap(2).
    pub fn shared() -> Result<Slots> {
        let files = [MemoryFile::create(c"sam-data-0")?, MemoryFile::create(c"sam-data-1")?];
        Ok(Slots { header: Header::Shared(SharedPage::new()?), files, is_unknown: false, begun: 0 })
    }

    /// Makes memory for a data store of which each forked process gets a copy of its own. It contains no data.
    fn private() -> Slots {
        let files = [MemoryFile::private(), MemoryFile::private()];
        Slots { header: Header::Private(AtomicU64::new(0)), files, is_unknown: false, begun: 0 }
    }

    /// Returns new memory for a data store, which forked processes share, with a copy of the data in `self`.
    /// `sam_register` calls this before it forks the first instance. The data in `self` does not change.
    ///
    /// # Errors
    /// The errors of [`shared`](Slots::shared) and [`MemoryFile::copy_to`].
    pub fn share(&self) -> Result<Slots> {
        let copy = Slots::shared()?;
        let Committed { slot, size } = self.readable()?;
        if size > 0 {
            self.files[slot].copy_to(&copy.files[0], size)?;
            copy.commit(0, size);
        }
        Ok(copy)
    }

    /// Exchanges the memory of this data store for that of `slots`, in a new instance. The memory is shared: earlier
    /// instances may have stored data there since this process was forked.
    pub fn adopt(&mut self, slots: &mut Slots) {
        // A store that is under way, by what a signal handler that registers has interrupted, begins again.
        self.begun += 1;
        self.is_unknown = true;
        // Part by part, without a copy of all on the stack.
        mem::swap(&mut self.header, &mut slots.header);
        mem::swap(&mut self.files, &mut slots.files);
    }

    /// Removes the stored data, and gives its memory back to the kernel. Called in the supervisor, which needs none of
    /// it.
    pub fn clear(&self) {
        self.commit(0, 0);
        self.files.iter().for_each(|file| file.give_back(0));
    }

    fn word(&self) -> &AtomicU64 {
        match &self.header {
            Header::Shared(page) => &page.words()[0],
            Header::Private(word) => word,
        }
    }

    fn committed(&self) -> Committed {
        Committed::from_word(self.word().load(Ordering::Acquire))
    }

    /// Returns the place and the size of the stored data, after making sure that it can be read. The size is 0 if the
    /// header word names more bytes than the memory has: a hostile instance may have written it.
    fn readable(&self) -> Result<Committed> {
        let committed = self.committed();
        match self.files[committed.slot].reach(committed.size) {
            Ok(()) => Ok(committed),
            Err(Error::Internal) => Ok(Committed { size: 0, ..committed }),
            Err(error) => Err(error),
        }
    }

    /// Begins to store `size` bytes: reserves memory for them in the slot that does not contain the stored data.
    /// Returns the index of that slot and the number of this store, by which a store in several steps notices a later
    /// one.
    ///
    /// # Errors
    /// The errors of [`MemoryFile::reserve`].
    fn begin(&mut self, size: usize) -> Result<(usize, u64)> {
        if mem::take(&mut self.is_unknown) {
            self.files.iter().for_each(MemoryFile::survey);
        }
        let slot = 1 - self.committed().slot;
        self.begun += 1;
        self.files[slot].reserve(size)?;
        Ok((slot, self.begun))
    }

    /// Makes the first `size` bytes in the slot with the index `slot` the stored data, by one write to the header word.
    /// Gives memory back to the kernel if the two slots have much more than they need.
    fn commit(&self, slot: usize, size: usize) {
        self.word().store(Committed { slot, size }.to_word(), Ordering::Release);
        for (number, file) in self.files.iter().enumerate() {
            if file.is_wasteful(size) {
                file.give_back(if number == slot { size } else { 0 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> DataStore {
        DataStore::of(Slots::shared().unwrap())
    }

    fn store(store: &DataStore, data: &[u8]) -> Result<()> {
        store.store(data.into())
    }

    fn restore(store: &DataStore, room: usize) -> Result<Vec<u8>> {
        let mut data = vec![0xee; room];
        store.restore(data[..].as_mut().into())?;
        Ok(data)
    }

    fn restored(store: &DataStore) -> Vec<u8> {
        restore(store, store.size().unwrap()).unwrap()
    }

    fn set_word(store: &DataStore, word: u64) {
        store.lock().unwrap().word().store(word, Ordering::Relaxed);
    }

    #[test]
    fn the_last_store_is_what_is_restored() {
        for kept in [shared(), DataStore::empty()] {
            assert_eq!(kept.size(), Ok(0));
            assert_eq!(restore(&kept, 3).unwrap(), [0xee; 3], "nothing stored, nothing written");
            for data in [&b"one"[..], b"a longer second", b"3", &[9; 100_000], &[5; 3 * PART + 1], b"four"] {
                store(&kept, data).unwrap();
                assert_eq!(kept.size(), Ok(data.len()));
                assert_eq!(restored(&kept), data);
                assert_eq!(restore(&kept, data.len() - 1), Err(Error::InvalidArgument));
            }
            store(&kept, b"").unwrap();
            assert_eq!(kept.size(), Ok(0));
        }
    }

    #[test]
    fn store_in_parts_is_complete_after_its_last_part() {
        let kept = shared();
        for length in [1, PART, PART + 1, 2 * PART] {
            let data = vec![7; length];
            assert_eq!(kept.store_in_parts(data[..].into()), Ok(true));
            assert_eq!(restored(&kept), data);
        }
    }

    #[test]
    fn store_that_began_before_other_memory_was_adopted_has_a_number_of_its_own() {
        let mut slots = Slots::shared().unwrap();
        let (_, before) = slots.begin(1).unwrap();
        slots.adopt(&mut Slots::shared().unwrap());
        assert_ne!(slots.begun, before);
        let (_, after) = slots.begin(1).unwrap();
        assert_ne!(after, before);
    }

    #[test]
    fn what_cannot_be_stored_leaves_what_was() {
        let kept = shared();
        store(&kept, b"precious").unwrap();
        for (size, error) in [
            (usize::MAX, Error::TooBig),
            (isize::MAX as usize, Error::TooBig),
            // A process of 32 bits may have the address space for these. c-tests/codes.c limits it.
            #[cfg(target_pointer_width = "64")]
            (isize::MAX as usize - 1, Error::NoMemory),
            #[cfg(target_pointer_width = "64")]
            (1 << 46, Error::NoMemory),
        ] {
            assert_eq!(kept.store(InBuf::pretended(size)), Err(error), "{size} bytes");
            assert_eq!(restore(&kept, 8).unwrap(), b"precious");
        }
    }

    #[test]
    fn a_file_that_is_longer_than_its_memory_is_an_empty_store() {
        let mut kept = shared();
        crate::sys::large_file::set_length(&kept.exposed().1[0].exposed(), 1 << 40).unwrap();
        for size in [1, 5000, 1 << 40] {
            set_word(&kept, size << 1);
            assert_eq!(kept.size(), Ok(0), "{size} bytes");
        }
        store(&kept, b"def").unwrap();
        assert_eq!(restore(&kept, 3).unwrap(), b"def");
    }

    #[test]
    fn a_header_that_lies_is_an_empty_store() {
        let kept = shared();
        store(&kept, b"abc").unwrap();
        for word in [u64::MAX, u64::MAX - 1, u64::MAX - 2, 1 << 40, 100_000 << 1] {
            set_word(&kept, word);
            assert_eq!(kept.size(), Ok(0), "word {word:x}");
            restore(&kept, 10).unwrap();
            store(&kept, b"def").unwrap();
            assert_eq!(restore(&kept, 3).unwrap(), b"def");
        }
    }

    #[test]
    fn data_before_sam_register_is_in_the_shared_store_and_as_before_if_that_is_dropped() {
        for size in [0, 5, 100_000] {
            let data = DataStore::empty();
            store(&data, b"earlier").unwrap();
            store(&data, &vec![7; size]).unwrap();
            for _ in 0..2 {
                drop(data.lock().unwrap().share().unwrap());
            }
            assert_eq!(restored(&data), vec![7; size]);
            let mut slots = data.lock().unwrap();
            let mut shared = slots.share().unwrap();
            slots.adopt(&mut shared);
            drop(slots);
            assert_eq!(restored(&data), vec![7; size]);
            store(&data, b"later").unwrap();
            assert_eq!(restored(&data), b"later");
        }
    }

    #[test]
    fn supervisor_has_no_data_and_refuses_stores() {
        let data = DataStore::empty();
        store(&data, b"earlier").unwrap();
        let slots = data.lock().unwrap();
        slots.clear();
        assert!(!slots.files.iter().any(|file| file.reaches(1)));
        slots.close();
        assert_eq!(store(&data, b"later"), Err(Error::WrongState));
        assert_eq!(data.size(), Err(Error::WrongState));
    }

    /// A signal handler between two parts of a store stores, or registers.
    #[test]
    fn store_or_registration_between_two_parts_is_noticed() {
        let large = vec![7; 2 * PART];
        for registers in [false, true] {
            let kept = shared();
            store(&kept, &large).unwrap();
            let (slot, begun) = kept.lock().unwrap().begin(large.len()).unwrap();
            assert_ne!(slot, kept.lock().unwrap().committed().slot);
            if registers {
                let mut slots = kept.lock().unwrap();
                let mut shared = slots.share().unwrap();
                slots.adopt(&mut shared);
            } else {
                store(&kept, b"handler").unwrap();
            }
            assert_ne!(kept.lock().unwrap().begun, begun);
        }
    }

    /// Two threads store large data: each makes the other begin again. A third one restores.
    #[test]
    fn data_is_whole_whoever_stores_meanwhile() {
        const SIZE: usize = 3 * PART;
        let kept = shared();
        store(&kept, &[9; SIZE]).unwrap();
        std::thread::scope(|scope| {
            for value in [1, 2] {
                let kept = &kept;
                scope.spawn(move || (0..50).for_each(|_| store(kept, &[value; SIZE]).unwrap()));
            }
            for _ in 0..50 {
                let found = restore(&kept, SIZE).unwrap();
                assert!(found.iter().all(|byte| *byte == found[0]));
            }
        });
        let found = restored(&kept);
        assert!(found == [1; SIZE] || found == [2; SIZE]);
    }

    #[test]
    fn memory_is_given_back_when_the_data_becomes_small() {
        let kept = shared();
        let wasted = |size| kept.lock().unwrap().files.iter().filter(|file| file.is_wasteful(size)).count();
        let large = vec![7; 1 << 20];
        for small in [&b""[..], b"small", &[3; 400_000]] {
            for _ in 0..2 {
                store(&kept, &large).unwrap();
            }
            assert_eq!((wasted(0), wasted(large.len())), (2, 0));
            store(&kept, small).unwrap();
            assert_eq!(wasted(small.len()), 0, "{} bytes", small.len());
            assert_eq!(restore(&kept, small.len()).unwrap(), small);
        }
    }
}
