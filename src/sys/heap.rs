//! The library's memory: some of its own first, the process's heap when that does not do. So a supervisor lives on
//! where the heap that it has inherited from the program is full, or the program has damaged it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

const BLOCKS: usize = 64;
/// Bytes of most of what is allocated.
const SMALL: usize = 128;
/// Bytes of a line of the log while it is put together.
const LARGE: usize = 2048;
/// Bytes.
const ALIGNMENT: usize = 64;

#[global_allocator]
static HEAP: Heap = Heap { small: Blocks::new(), large: Blocks::new() };

/// Small blocks share pages: a page that is written is one more for each process.
struct Heap {
    small: Blocks<SMALL>,
    large: Blocks<LARGE>,
}

/// Blocks of equal size, each used as a whole.
#[repr(C)]
struct Blocks<const SIZE: usize> {
    /// A bit for each block.
    used: AtomicU64,
    blocks: Aligned<UnsafeCell<[[u8; SIZE]; BLOCKS]>>,
}

#[repr(align(64))]
struct Aligned<T>(T);

// SAFETY: a block is used by whoever set its bit, alone, until they clear it.
unsafe impl<const SIZE: usize> Sync for Blocks<SIZE> {}

impl<const SIZE: usize> Blocks<SIZE> {
    const fn new() -> Self {
        Blocks { used: AtomicU64::new(0), blocks: Aligned(UnsafeCell::new([[0; SIZE]; BLOCKS])) }
    }

    fn start(&self) -> *mut u8 {
        self.blocks.0.get().cast()
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        if layout.size() > SIZE || layout.align() > ALIGNMENT {
            return None;
        }
        let free = |used: u64| (used != u64::MAX).then_some(used | used.wrapping_add(1));
        let before = self.used.fetch_update(Ordering::Acquire, Ordering::Relaxed, free).ok()?;
        Some(self.start().wrapping_add(before.trailing_ones() as usize * SIZE))
    }

    /// Takes a block back, if it is one of these.
    fn take_back(&self, block: *mut u8) -> bool {
        let number = self.number(block);
        if let Some(number) = number {
            self.used.fetch_and(!(1 << number), Ordering::Release);
        }
        number.is_some()
    }

    fn number(&self, block: *mut u8) -> Option<usize> {
        let number = (block as usize).checked_sub(self.start() as usize)? / SIZE;
        (number < BLOCKS).then_some(number)
    }
}

// SAFETY: what is handed out is a block that nobody else has, aligned and large enough, or comes from the system's
// allocator; and goes back to where it came from.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.small.take(layout).or_else(|| self.large.take(layout)) {
            Some(block) => block,
            // SAFETY: the caller's promises are the same.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !self.small.take_back(block) && !self.large.take_back(block) {
            // SAFETY: as above.
            unsafe { System.dealloc(block, layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    #[test]
    fn each_block_is_given_once_and_comes_back() {
        let heap = Blocks::<SMALL>::new();
        let layout = Layout::new::<[u8; SMALL]>();
        let mut blocks: Vec<_> = (0..BLOCKS).map(|_| heap.take(layout).unwrap()).collect();
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
    fn each_allocation_has_the_room_that_fits() {
        let heap = Heap { small: Blocks::new(), large: Blocks::new() };
        for (size, align, in_small, in_large) in [
            (1, 1, true, false),
            (SMALL, ALIGNMENT, true, false),
            (SMALL + 1, 1, false, true),
            (LARGE, ALIGNMENT, false, true),
            (LARGE + 1, 1, false, false),
            (8, 2 * ALIGNMENT, false, false),
        ] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the layout has a size; what was allocated is freed with the same layout.
            unsafe {
                let block = heap.alloc(layout);
                let places = (heap.small.number(block).is_some(), heap.large.number(block).is_some());
                assert_eq!(places, (in_small, in_large), "{layout:?}");
                assert_eq!(block as usize % align, 0, "{layout:?}");
                heap.dealloc(block, layout);
            }
        }
        let used = [&heap.small.used, &heap.large.used].map(|used| used.load(Ordering::Relaxed));
        assert_eq!(used, [0, 0]);
    }

    #[test]
    fn small_blocks_used_up_are_no_end() {
        let heap = Heap { small: Blocks::new(), large: Blocks::new() };
        let layout = Layout::new::<u64>();
        let mut blocks: Vec<_> = iter::repeat_with(|| {
            // SAFETY: the layout has a size.
            unsafe { heap.alloc(layout) }
        })
        .take(2 * BLOCKS + 1)
        .collect();
        assert!(blocks.iter().all(|block| !block.is_null()));
        blocks.sort();
        blocks.dedup();
        assert_eq!(blocks.len(), 2 * BLOCKS + 1);
        for block in blocks {
            // SAFETY: allocated above.
            unsafe { heap.dealloc(block, layout) };
        }
    }
}
