//! The library's memory: some of its own first, the process's heap when that does not do. So a supervisor lives on
//! where the heap that it has inherited from the program is full, or the program has damaged it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

const BLOCKS: usize = 64;
/// Bytes in a block: as much as a line of the log may take while it is put together.
const SIZE: usize = 2048;

#[global_allocator]
static HEAP: Heap = Heap::new();

#[repr(align(2048))]
struct Blocks(UnsafeCell<[[u8; SIZE]; BLOCKS]>);

/// Blocks of equal size, each used as a whole.
struct Heap {
    /// A bit for each block.
    used: AtomicU64,
    blocks: Blocks,
}

// SAFETY: a block is used by whoever set its bit, alone, until they clear it.
unsafe impl Sync for Heap {}

impl Heap {
    const fn new() -> Heap {
        Heap { used: AtomicU64::new(0), blocks: Blocks(UnsafeCell::new([[0; SIZE]; BLOCKS])) }
    }

    fn start(&self) -> *mut u8 {
        self.blocks.0.get().cast()
    }

    fn take(&self) -> Option<*mut u8> {
        let free = |used: u64| (used != u64::MAX).then_some(used | used.wrapping_add(1));
        let before = self.used.fetch_update(Ordering::Acquire, Ordering::Relaxed, free).ok()?;
        Some(self.start().wrapping_add(before.trailing_ones() as usize * SIZE))
    }

    /// The number of the block, if it is one of ours.
    fn number(&self, block: *mut u8) -> Option<usize> {
        let number = (block as usize).checked_sub(self.start() as usize)? / SIZE;
        (number < BLOCKS).then_some(number)
    }
}

// SAFETY: what is handed out is a block that nobody else has, aligned and large enough, or comes from the system's
// allocator; and goes back to where it came from.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let fits = layout.size() <= SIZE && layout.align() <= SIZE;
        match fits.then(|| self.take()).flatten() {
            Some(block) => block,
            // SAFETY: the caller's promises are the same.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.number(block) {
            Some(number) => drop(self.used.fetch_and(!(1 << number), Ordering::Release)),
            // SAFETY: as above.
            None => unsafe { System.dealloc(block, layout) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_given_once_and_comes_back() {
        let heap = Heap::new();
        let mut blocks: Vec<_> = (0..BLOCKS).map(|_| heap.take().unwrap()).collect();
        assert_eq!(heap.take(), None);
        for (number, block) in blocks.iter().enumerate() {
            assert_eq!(heap.number(*block), Some(number));
        }
        let layout = Layout::new::<[u8; SIZE]>();
        for number in [7, 63, 0] {
            // SAFETY: it was taken above, and nobody uses it.
            unsafe { heap.dealloc(blocks[number], layout) };
            blocks[number] = heap.take().unwrap();
            assert_eq!(heap.number(blocks[number]), Some(number));
        }
    }

    #[test]
    fn what_does_not_fit_is_the_systems() {
        let heap = Heap::new();
        for (size, align, ours) in
            [(1, 1, true), (SIZE, SIZE, true), (SIZE + 1, 1, false), (8, 2 * SIZE, false)]
        {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the layout has a size; what was allocated is freed with the same layout.
            unsafe {
                let block = heap.alloc(layout);
                assert_eq!(heap.number(block).is_some(), ours, "{layout:?}");
                assert_eq!(block as usize % align, 0, "{layout:?}");
                heap.dealloc(block, layout);
            }
        }
        assert_eq!(heap.used.load(Ordering::Relaxed), 0);
    }
}
