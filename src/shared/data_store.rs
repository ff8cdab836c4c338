//! User data that survives the instance: files in memory, and one word that says which holds the data and how much. A
//! store writes another file, then changes the word: cut off before that, it never happened.
//!
//! There are three files: one that holds the data, one that is being written, and one more for a signal handler that
//! stores while it interrupts the second. Until `sam_register` they are private memory in place of files, so that a
//! process which the program forks has data of its own.
//!
//! Memory is given back when the data becomes much smaller, so that large data that was forgotten takes none. For data
//! below a few hundred KiB there is nothing to give back, and a store makes no system call.

#![forbid(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, compiler_fence};

use crate::error::{Error, Result};
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::ffi_buf::{InBuf, OutBuf};
use crate::sys::memory_file::MemoryFile;
use crate::sys::reentrant::{Entered, Reentrant};
use crate::sys::shared_page::SharedPage;
use crate::sys::signals::Blocked;

const SLOTS: usize = 3;

/// The data of a session. Until `sam_register` it is memory of this process alone, and processes that the program forks
/// get copies: each of them may register. From then on the supervisor and all its instances share it.
#[derive(Debug)]
pub struct DataStore {
    draft: Slots,
    /// In an instance.
    shared: OnceLock<Slots>,
}

impl DataStore {
    /// No data.
    pub fn new() -> Result<DataStore> {
        Ok(DataStore { draft: Slots::private()?, shared: OnceLock::new() })
    }

    /// Waits for other threads. To be held by the thread that registers.
    ///
    /// # Errors
    /// `WrongState` if this process has become a supervisor.
    pub fn guard(&self) -> Result<StoreGuard<'_>> {
        self.draft.guard()
    }

    /// Makes the store that a supervisor and its instances share, with the data as it is. Nothing changes in this
    /// process.
    pub fn share(&self, guard: &StoreGuard<'_>) -> Result<Slots> {
        let store = Slots::new()?;
        store.copy(&self.draft, guard)?;
        Ok(store)
    }

    /// The supervisor: gives the memory back that is not shared. Other threads are turned away until `guard` is dropped.
    pub fn leave(&self, guard: &StoreGuard<'_>) {
        self.draft.clear(guard);
        guard.shut();
    }

    /// The instance: uses `store` from now on.
    pub fn adopt(&self, store: Slots, guard: &StoreGuard<'_>) -> Result<()> {
        store.survey()?;
        self.shared.set(store).map_err(|_| Error::Internal)?;
        self.draft.clear(guard);
        Ok(())
    }

    fn store_in_use(&self) -> &Slots {
        self.shared.get().unwrap_or(&self.draft)
    }

    /// See Slots::size.
    pub fn size(&self) -> Result<usize> {
        self.store_in_use().size()
    }

    /// See Slots::store.
    pub fn store(&self, data: InBuf<'_>) -> Result<()> {
        let store = self.store_in_use();
        store.store(data)?;
        // A signal handler may have registered meanwhile.
        match self.shared.get() {
            Some(shared) if !std::ptr::eq(store, shared) => shared.store(data),
            _ => Ok(()),
        }
    }

    /// See Slots::restore.
    pub fn restore(&self, room: OutBuf<'_>) -> Result<()> {
        self.store_in_use().restore(room)
    }
}

/// A store of data: a header, and the memory that it tells of.
#[derive(Debug)]
pub struct Slots {
    header: SharedPage,
    slots: Reentrant<SlotFiles>,
}

#[derive(Debug)]
struct SlotFiles {
    files: [MemoryFile; SLOTS],
    /// What the thread that is here reads or writes: a signal handler that interrupts it leaves it as it is.
    busy: AtomicUsize,
}

/// No slot.
const NONE: usize = usize::MAX;

/// What the header's word says: the number of the slot in the lowest bits, the size in bytes in the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Committed {
    slot: usize,
    size: usize,
}

impl Committed {
    const BITS: u32 = 2;

    /// The word may be anything. In a slot that does not exist nothing is stored.
    fn from_word(word: u64) -> Committed {
        match (word & ((1 << Committed::BITS) - 1)) as usize {
            slot if slot < SLOTS => Committed { slot, size: (word >> Committed::BITS) as usize },
            _ => Committed { slot: 0, size: 0 },
        }
    }

    fn to_word(self) -> u64 {
        (self.size as u64) << Committed::BITS | self.slot as u64
    }
}

/// A thread's turn with the store: until it is dropped no other thread has one, but a signal handler of this thread may.
#[derive(Debug)]
pub struct StoreGuard<'a>(Entered<'a, SlotFiles>);

impl StoreGuard<'_> {
    /// What is in use by whom this has interrupted.
    fn busy_slot(&self) -> usize {
        if self.0.is_nested() { self.0.busy.load(Ordering::Relaxed) } else { NONE }
    }

    /// Refuses every use of the store by another thread until this is dropped.
    pub fn shut(&self) {
        self.0.shut();
    }

    /// From now on a signal handler knows. Nobody interrupts one that has interrupted this.
    fn mark_busy(&self, slot: usize) {
        if !self.0.is_nested() {
            self.0.busy.store(slot, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
        }
    }
}

impl Drop for StoreGuard<'_> {
    fn drop(&mut self) {
        self.mark_busy(NONE);
    }
}

impl Slots {
    /// An empty store.
    pub fn new() -> Result<Slots> {
        let files = [
            MemoryFile::create(c"sam-data-0")?,
            MemoryFile::create(c"sam-data-1")?,
            MemoryFile::create(c"sam-data-2")?,
        ];
        Ok(Slots::on(SharedPage::new()?, files))
    }

    /// An empty store that no other process shares.
    fn private() -> Result<Slots> {
        Ok(Slots::on(SharedPage::private()?, std::array::from_fn(|_| MemoryFile::private())))
    }

    fn on(header: SharedPage, files: [MemoryFile; SLOTS]) -> Slots {
        Slots { header, slots: Reentrant::new(SlotFiles { files, busy: AtomicUsize::new(NONE) }) }
    }

    /// Header and slots, as an instance that is not trusted has them.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn exposed(&mut self) -> (&SharedPage, &[MemoryFile]) {
        (&self.header, &self.slots.inside().files)
    }

    /// Waits for other threads. To be held by who forks: the new process has none of them.
    ///
    /// # Errors
    /// `WrongState` if this process has become a supervisor.
    pub fn guard(&self) -> Result<StoreGuard<'_>> {
        self.slots.enter().map(StoreGuard).ok_or(Error::WrongState)
    }

    fn word(&self) -> &AtomicU64 {
        &self.header.words()[0]
    }

    fn committed(&self) -> Committed {
        Committed::from_word(self.word().load(Ordering::Acquire))
    }

    /// Bytes stored. What an earlier instance claims to have stored but did not counts as nothing.
    pub fn size(&self) -> Result<usize> {
        Ok(self.readable(&self.guard()?)?.size)
    }

    fn readable(&self, guard: &StoreGuard<'_>) -> Result<Committed> {
        let (committed, _) = self.choose(guard, |committed| committed.slot);
        let file = &guard.0.files[committed.slot];
        // Who is interrupted has stored it, or reads it: there is no need to grow, unless the word lies.
        let reached = match committed.slot == guard.busy_slot() && !file.reaches(committed.size) {
            true => Err(Error::Internal),
            false => file.reach(committed.size),
        };
        match reached {
            Ok(()) => Ok(committed),
            Err(Error::Internal) => Ok(Committed { size: 0, ..committed }),
            Err(error) => Err(error),
        }
    }

    /// Chooses a slot to use by what is committed; a signal handler may commit another before it knows of the choice.
    fn choose(&self, guard: &StoreGuard<'_>, by: impl Fn(Committed) -> usize) -> (Committed, usize) {
        loop {
            let committed = self.committed();
            let slot = by(committed);
            guard.mark_busy(slot);
            if self.committed() == committed {
                return (committed, slot);
            }
        }
    }

    /// Keeps `data` in place of what was stored; no bytes forget it. After an error what was stored is intact.
    pub fn store(&self, data: InBuf<'_>) -> Result<()> {
        if data.len() >= isize::MAX as usize {
            return Err(Error::TooBig);
        }
        let guard = self.guard()?;
        let (_, slot) = self.choose(&guard, |committed| {
            let mut slot = 0;
            while slot == committed.slot || slot == guard.busy_slot() {
                slot += 1;
            }
            slot
        });
        if !data.is_empty() {
            guard.0.files[slot].write(data)?;
        }
        self.commit(Committed { slot, size: data.len() });
        self.give_back(&guard, data.len());
        Ok(())
    }

    fn commit(&self, committed: Committed) {
        self.word().store(committed.to_word(), Ordering::Release);
    }

    /// Gives memory back when the slots have much more than data of `size` bytes needs.
    fn give_back(&self, guard: &StoreGuard<'_>, size: usize) {
        if !guard.0.files.iter().any(|file| file.is_wasteful(size)) {
            return;
        }
        let _blocked = Blocked::all();
        // A signal handler may have stored until now.
        let committed = self.committed();
        for (slot, file) in guard.0.files.iter().enumerate() {
            if slot != guard.busy_slot() && file.is_wasteful(committed.size) {
                file.give_back(if slot == committed.slot { committed.size } else { 0 });
            }
        }
    }

    /// Finds out how much memory the slots have: other processes may have stored.
    fn survey(&self) -> Result<()> {
        self.guard()?.0.files.iter().for_each(MemoryFile::survey);
        Ok(())
    }

    /// Copies what `other` has stored to this store, which is new. `others` is a turn with `other`.
    fn copy(&self, other: &Slots, others: &StoreGuard<'_>) -> Result<()> {
        let Committed { slot, size } = other.readable(others)?;
        if size > 0 {
            others.0.files[slot].copy_to(&self.guard()?.0.files[0], size)?;
            self.commit(Committed { slot: 0, size });
        }
        Ok(())
    }

    /// Forgets what is stored and gives all memory back but that which is in use by a call that this one interrupts.
    fn clear(&self, guard: &StoreGuard<'_>) {
        let _blocked = Blocked::all();
        self.commit(Committed { slot: 0, size: 0 });
        for (slot, file) in guard.0.files.iter().enumerate() {
            if slot != guard.busy_slot() {
                file.give_back(0);
            }
        }
    }

    /// Copies what is stored to the start of `room`; nothing when nothing is stored.
    pub fn restore(&self, room: OutBuf<'_>) -> Result<()> {
        let guard = self.guard()?;
        let Committed { slot, size } = self.readable(&guard)?;
        if size > room.len() {
            return Err(Error::InvalidArgument);
        }
        guard.0.files[slot].read(room, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(store: &Slots, data: &[u8]) -> Result<()> {
        store.store(data.into())
    }

    fn restore(store: &Slots, room: usize) -> Result<Vec<u8>> {
        let mut data = vec![0xee; room];
        store.restore(data[..].as_mut().into())?;
        Ok(data)
    }

    #[test]
    fn the_last_store_is_what_is_restored() {
        let kept = Slots::new().unwrap();
        assert_eq!(kept.size(), Ok(0));
        assert_eq!(restore(&kept, 3).unwrap(), [0xee; 3], "nothing stored, nothing written");
        for data in [&b"one"[..], b"a longer second", b"3", &[9; 100_000], b"four"] {
            store(&kept, data).unwrap();
            assert_eq!(kept.size(), Ok(data.len()));
            assert_eq!(restore(&kept, data.len()).unwrap(), data);
            assert_eq!(restore(&kept, data.len() - 1), Err(Error::InvalidArgument));
        }
        store(&kept, b"").unwrap();
        assert_eq!(kept.size(), Ok(0));
    }

    #[test]
    fn what_cannot_be_stored_leaves_what_was() {
        let kept = Slots::new().unwrap();
        store(&kept, b"precious").unwrap();
        for (size, error) in [
            (usize::MAX, Error::TooBig),
            (isize::MAX as usize, Error::TooBig),
            (isize::MAX as usize - 1, Error::NoMemory),
            (1 << 46, Error::NoMemory),
        ] {
            assert_eq!(kept.store(InBuf::pretended(size)), Err(error), "{size} bytes");
            assert_eq!(restore(&kept, 8).unwrap(), b"precious");
        }
    }

    #[test]
    fn a_file_that_is_longer_than_its_memory_is_an_empty_store() {
        let mut kept = Slots::new().unwrap();
        nix::unistd::ftruncate(kept.exposed().1[0].exposed(), 1 << 40).unwrap();
        for size in [1, 5000, 1 << 40] {
            kept.word().store(Committed { slot: 0, size }.to_word(), Ordering::Relaxed);
            assert_eq!(kept.size(), Ok(0), "{size} bytes");
        }
        store(&kept, b"def").unwrap();
        assert_eq!(restore(&kept, 3).unwrap(), b"def");
    }

    #[test]
    fn a_header_that_lies_is_an_empty_store() {
        let kept = Slots::new().unwrap();
        store(&kept, b"abc").unwrap();
        for word in [u64::MAX, u64::MAX - 1, u64::MAX - 2, 1 << 40, 100_000 << 2] {
            kept.word().store(word, Ordering::Relaxed);
            assert_eq!(kept.size(), Ok(0), "word {word:x}");
            restore(&kept, 10).unwrap();
            store(&kept, b"def").unwrap();
            assert_eq!(restore(&kept, 3).unwrap(), b"def");
        }
    }

    /// A signal handler interrupts what uses slot `busy` while slot `committed` holds the data.
    #[test]
    fn who_interrupts_leaves_what_is_in_use() {
        for (busy, committed) in
            (0..SLOTS).flat_map(|busy| (0..SLOTS).map(move |committed| (busy, committed)))
        {
            let mut kept = Slots::new().unwrap();
            for file in kept.exposed().1 {
                file.write(b"used"[..].into()).unwrap();
            }
            kept.word().store(Committed { slot: committed, size: 4 }.to_word(), Ordering::Relaxed);
            let outer = kept.guard().unwrap();
            outer.mark_busy(busy);
            assert_eq!(restore(&kept, 4).unwrap(), b"used");
            for data in [&b"one"[..], b"second", b"", &[3; 10_000]] {
                store(&kept, data).unwrap();
                assert_ne!(kept.committed().slot, busy, "committed before: {committed}");
                assert_eq!(restore(&kept, data.len()).unwrap(), data);
            }
            let mut found = [0; 4];
            outer.0.files[busy].read(found[..].as_mut().into(), 4).unwrap();
            assert_eq!(&found, b"used", "slot {busy}, committed before: {committed}");

            kept.word().store(Committed { slot: busy, size: 5000 }.to_word(), Ordering::Relaxed);
            outer.0.files[busy].write(b"u"[..].into()).unwrap();
            assert_eq!(kept.size(), Ok(0), "what is in use is not mapped anew, whatever the word says");
            drop(outer);
            assert_eq!(kept.guard().unwrap().0.busy.load(Ordering::Relaxed), NONE);
        }
    }

    /// A signal handler commits the slot that was just chosen.
    #[test]
    fn who_is_interrupted_while_it_chooses_chooses_again() {
        for committed in 0..SLOTS {
            let kept = Slots::new().unwrap();
            kept.word().store(Committed { slot: committed, size: 0 }.to_word(), Ordering::Relaxed);
            let outer = kept.guard().unwrap();
            let (seen, chosen) = kept.choose(&outer, |seen| {
                if seen.size == 0 {
                    store(&kept, b"handler").unwrap();
                }
                // As a store chooses.
                usize::from(seen.slot == 0)
            });
            assert_eq!(seen, kept.committed());
            assert_ne!(chosen, seen.slot, "committed before: {committed}");
        }
    }

    fn restored(data: &DataStore) -> Vec<u8> {
        let mut found = vec![0xee; data.size().unwrap()];
        data.restore(found[..].as_mut().into()).unwrap();
        found
    }

    #[test]
    fn data_before_sam_register_is_in_the_shared_store_and_as_before_if_that_is_dropped() {
        for size in [0, 5, 100_000] {
            let data = DataStore::new().unwrap();
            data.store(b"earlier"[..].into()).unwrap();
            data.store(vec![7; size][..].into()).unwrap();
            for _ in 0..2 {
                let guard = data.guard().unwrap();
                drop(data.share(&guard).unwrap());
            }
            assert_eq!(restored(&data), vec![7; size]);
            let guard = data.guard().unwrap();
            let store = data.share(&guard).unwrap();
            data.adopt(store, &guard).unwrap();
            drop(guard);
            assert_eq!(restored(&data), vec![7; size]);
            assert_eq!(data.draft.size(), Ok(0));
            data.store(b"later"[..].into()).unwrap();
            assert_eq!(restored(&data), b"later");
        }
    }

    /// A signal handler registers while it interrupts a store.
    #[test]
    fn slot_in_use_is_kept_when_the_rest_of_the_draft_is_given_back() {
        let data = DataStore::new().unwrap();
        data.store(b"data"[..].into()).unwrap();
        for file in &data.draft.guard().unwrap().0.files {
            file.write(vec![7; 100_000][..].into()).unwrap();
        }
        let outer = data.guard().unwrap();
        outer.mark_busy(1);
        {
            let guard = data.guard().unwrap();
            let store = data.share(&guard).unwrap();
            data.adopt(store, &guard).unwrap();
        }
        let reached: Vec<bool> = outer.0.files.iter().map(|file| file.reaches(100_000)).collect();
        assert_eq!(reached, [false, true, false]);
        drop(outer);
    }

    #[test]
    fn memory_is_given_back_when_the_data_becomes_small() {
        let kept = Slots::new().unwrap();
        let wasted =
            |size| kept.guard().unwrap().0.files.iter().filter(|file| file.is_wasteful(size)).count();
        let large = vec![7; 1 << 20];
        for small in [&b""[..], b"small", &[3; 400_000]] {
            for _ in 0..SLOTS {
                store(&kept, &large).unwrap();
            }
            assert_eq!((wasted(0), wasted(large.len())), (2, 0));
            store(&kept, small).unwrap();
            assert_eq!(wasted(small.len()), 0, "{} bytes", small.len());
            assert_eq!(restore(&kept, small.len()).unwrap(), small);
        }
    }

    /// A signal handler stores while it interrupts what reads or writes a large slot.
    #[test]
    fn memory_of_the_slot_in_use_is_not_given_back() {
        for (busy, last) in (0..SLOTS).flat_map(|busy| [&b""[..], b"small"].map(|last| (busy, last))) {
            let kept = Slots::new().unwrap();
            for file in &kept.guard().unwrap().0.files {
                file.write(vec![7; 1 << 20][..].into()).unwrap();
            }
            let outer = kept.guard().unwrap();
            outer.mark_busy(busy);
            store(&kept, last).unwrap();
            let large: Vec<usize> = (0..SLOTS).filter(|&slot| outer.0.files[slot].reaches(1 << 20)).collect();
            assert_eq!(large, [busy]);
        }
    }
}
