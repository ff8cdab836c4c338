//! The allocator of the library: blocks of its own first, then the heap of the process. So a supervisor lives on if the
//! heap that it has inherited from the program is full or damaged.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// The size in bytes of the small memory blocks of this library's allocator. Most allocations fit in one.
const SMALL: usize = 128;
/// The size in bytes of the medium memory blocks of this library's allocator. A log line fits in one.
const LARGE: usize = 2048;
/// The size in bytes of the memory block of this library's allocator for the state of a supervisor.
pub const STATE: usize = 3584;
/// The size in bytes of the largest memory blocks of this library's allocator, for the lists of the supervisor: events,
/// signals, processes. Larger allocations come from the heap of the process.
pub const HUGE: usize = 16_384;
/// The size in bytes of the smallest page that Linux has.
const PAGE: usize = 4096;
/// The alignment in bytes of every memory block of this library's allocator. An allocation with a larger one comes from
/// the heap of the process.
const ALIGNMENT: usize = 64;

#[global_allocator]
static HEAP: Heap = Heap::on(&MEMORY);

static MEMORY: Memory = Memory {
    state: Bytes::new(),
    huge: Bytes::new(),
    _rest: Bytes::new(),
    small: Bytes::new(),
    large: Bytes::new(),
};

/// The memory of all blocks.
///
/// After each fork the kernel copies every page that the supervisor writes. So the state of the supervisor and the
/// beginning of the first huge block, which is the list that it writes for each event, share a page.
#[repr(C, align(4096))]
struct Memory {
    state: Bytes<STATE, 1>,
    huge: Bytes<HUGE, 16>,
    /// The rest of a page, so that the first small blocks share one.
    _rest: Bytes<{ PAGE - STATE }, 1>,
    small: Bytes<SMALL, 64>,
    large: Bytes<LARGE, 32>,
}

#[repr(C, align(64))]
struct Bytes<const SIZE: usize, const COUNT: usize>(UnsafeCell<[[u8; SIZE]; COUNT]>);

// SAFETY: the thread that sets the bit of a block in `Blocks` uses the block alone, until it clears the bit.
unsafe impl<const SIZE: usize, const COUNT: usize> Sync for Bytes<SIZE, COUNT> {}

impl<const SIZE: usize, const COUNT: usize> Bytes<SIZE, COUNT> {
    const fn new() -> Self {
        Bytes(UnsafeCell::new([[0; SIZE]; COUNT]))
    }
}

/// The memory blocks of this library's allocator, in four sizes. An allocation takes the smallest block that fits, or
/// comes from the heap of the process. So a supervisor works even if the program has damaged or filled the heap.
///
/// A new instance frees blocks. So the marks of the blocks in use are apart from the memory of the blocks, on the page of
/// the other variables of the library, which the instance writes anyway.
struct Heap {
    small: Blocks<SMALL, 64>,
    large: Blocks<LARGE, 32>,
    state: Blocks<STATE, 1>,
    huge: Blocks<HUGE, 16>,
}

/// Up to 64 memory blocks of `SIZE` bytes each. An allocation takes a whole block.
struct Blocks<const SIZE: usize, const COUNT: usize> {
    /// One bit for each memory block of this array, by its index: 1 while an allocation uses the block.
    used: AtomicU64,
    memory: &'static Bytes<SIZE, COUNT>,
}

impl Heap {
    const fn on(memory: &'static Memory) -> Self {
        Heap {
            small: Blocks::on(&memory.small),
            large: Blocks::on(&memory.large),
            state: Blocks::on(&memory.state),
            huge: Blocks::on(&memory.huge),
        }
    }
}

impl<const SIZE: usize, const COUNT: usize> Blocks<SIZE, COUNT> {
    const fn on(memory: &'static Bytes<SIZE, COUNT>) -> Self {
        Blocks { used: AtomicU64::new(0), memory }
    }

    fn start(&self) -> *mut u8 {
        self.memory.0.get().cast()
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        if layout.size() > SIZE || layout.align() > ALIGNMENT {
            return None;
        }
        let free = |used: u64| (used.trailing_ones() < COUNT as u32).then_some(used | used.wrapping_add(1));
        let before = self.used.fetch_update(Ordering::Acquire, Ordering::Relaxed, free).ok()?;
        Some(self.start().wrapping_add(before.trailing_ones() as usize * SIZE))
    }

    /// Frees the memory block at the address `block`. Returns `false`, and frees nothing, if that is no block of this
    /// array, so that it belongs to another size or to the heap of the process.
    fn take_back(&self, block: *mut u8) -> bool {
        let number = self.number(block);
        if let Some(number) = number {
            self.used.fetch_and(!(1 << number), Ordering::Release);
        }
        number.is_some()
    }

    fn number(&self, block: *mut u8) -> Option<usize> {
        let number = (block as usize).checked_sub(self.start() as usize)? / SIZE;
        (number < COUNT).then_some(number)
    }
}

// SAFETY: alloc() returns a block that no other allocation has, and that is large enough and aligned, or memory of the
// system's allocator. dealloc() gives memory back to where it came from, which the address tells.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let own = self.small.take(layout).or_else(|| self.large.take(layout));
        let own = own.or_else(|| self.state.take(layout));
        match own.or_else(|| self.huge.take(layout)) {
            Some(block) => block,
            // SAFETY: the caller's promises are the same.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let is_own = self.small.take_back(block)
            || self.large.take_back(block)
            || self.state.take_back(block)
            || self.huge.take_back(block);
        if !is_own {
            // SAFETY: as above.
            unsafe { System.dealloc(block, layout) };
        }
    }
}

/// Returns an empty list with memory for `count` items. The supervisor reserves its lists before `sam_register`
/// returns, and later allocates nothing for them.
///
/// # Errors
/// There is not enough memory.
pub fn reserve<T>(count: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| Error::System(libc::ENOMEM))?;
    Ok(list)
}

/// Returns a list of the items, or of the first ones if memory runs out. std's collect() would end the process in that
/// case.
pub fn gather<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut gathered = Vec::new();
    for item in items {
        if gathered.try_reserve(1).is_err() {
            break;
        }
        gathered.push(item);
    }
    gathered
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    fn heap() -> Heap {
        Heap::on(Box::leak(Box::new(Memory {
            state: Bytes::new(),
            huge: Bytes::new(),
            _rest: Bytes::new(),
            small: Bytes::new(),
            large: Bytes::new(),
        })))
    }

    #[test]
    fn freed_block_is_given_again() {
        let heap = heap().small;
        let layout = Layout::new::<[u8; SMALL]>();
        let mut blocks: Vec<_> = (0..64).map(|_| heap.take(layout).unwrap()).collect();
        assert_eq!(heap.take(layout), None);
        for (number, block) in blocks.iter().enumerate() {
            assert_eq!(heap.number(*block), Some(number));
        }
        for number in [7, 63, 0] {
            assert!(heap.take_back(blocks[number]));
            blocks[number] = heap.take(layout).unwrap();
            assert_eq!(heap.number(blocks[number]), Some(number));
        }
    }

    #[test]
    fn allocation_takes_the_smallest_block_that_fits() {
        let heap = heap();
        for (size, align, expected) in [
            (1, 1, Some(0)),
            (SMALL, ALIGNMENT, Some(0)),
            (SMALL + 1, 1, Some(1)),
            (LARGE, ALIGNMENT, Some(1)),
            (LARGE + 1, 1, Some(2)),
            (STATE, ALIGNMENT, Some(2)),
            (STATE + 1, 1, Some(3)),
            (HUGE, ALIGNMENT, Some(3)),
            (HUGE + 1, 1, None),
            (8, 2 * ALIGNMENT, None),
        ] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the layout has a size; what was allocated is freed with the same layout.
            unsafe {
                let block = heap.alloc(layout);
                let numbers = [
                    heap.small.number(block),
                    heap.large.number(block),
                    heap.state.number(block),
                    heap.huge.number(block),
                ];
                assert_eq!(numbers.iter().position(Option::is_some), expected, "{layout:?}");
                assert_eq!(block as usize % align, 0, "{layout:?}");
                heap.dealloc(block, layout);
            }
        }
        let used = [&heap.small.used, &heap.large.used, &heap.state.used, &heap.huge.used];
        assert_eq!(used.map(|used| used.load(Ordering::Relaxed)), [0; 4]);
    }

    #[test]
    fn allocation_without_free_block_comes_from_the_heap() {
        const MORE: usize = 64 + 32 + 1 + 16 + 1;
        let heap = heap();
        let layout = Layout::new::<u64>();
        let mut blocks: Vec<_> = iter::repeat_with(|| {
            // SAFETY: the layout has a size.
            unsafe { heap.alloc(layout) }
        })
        .take(MORE)
        .collect();
        assert!(blocks.iter().all(|block| !block.is_null()));
        blocks.sort();
        blocks.dedup();
        assert_eq!(blocks.len(), MORE);
        for block in blocks {
            // SAFETY: allocated above.
            unsafe { heap.dealloc(block, layout) };
        }
    }
}
