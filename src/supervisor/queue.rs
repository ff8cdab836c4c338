//! A queue whose first items need no memory of their own.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

/// A queue that holds up to `N` items in itself, and the others in memory that is reserved. The supervisor seldom has
/// more than a few items, so it writes few pages. After each fork the kernel copies every page that is written.
///
/// The items in `near` come before those in `far`.
#[derive(Debug)]
pub struct Queue<T, const N: usize> {
    near: [Option<T>; N],
    /// The index of the first item in `near`, which is a ring.
    start: usize,
    count: usize,
    far: VecDeque<T>,
}

impl<T: Copy, const N: usize> Queue<T, N> {
    /// Returns an empty queue. It never holds more items than `N` and the capacity of `far`.
    pub fn new(far: Vec<T>) -> Queue<T, N> {
        Queue { near: [None; N], start: 0, count: 0, far: far.into() }
    }

    /// Adds an item at the end.
    pub fn push_back(&mut self, item: T) {
        if self.count < N && self.far.is_empty() {
            self.near[(self.start + self.count) % N] = Some(item);
            self.count += 1;
        } else {
            self.far.push_back(item);
        }
    }

    /// Adds an item before all others.
    pub fn push_front(&mut self, item: T) {
        if self.count == N {
            let last = self.near[(self.start + N - 1) % N].take();
            self.count -= 1;
            last.into_iter().for_each(|last| self.far.push_front(last));
        }
        self.start = (self.start + N - 1) % N;
        self.near[self.start] = Some(item);
        self.count += 1;
    }

    /// Removes the first item and returns it.
    pub fn pop_front(&mut self) -> Option<T> {
        if self.count == 0 {
            return self.far.pop_front();
        }
        let first = self.near[self.start].take();
        self.start = (self.start + 1) % N;
        self.count -= 1;
        first
    }

    /// Returns the number of items that the queue holds in itself.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the items in order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let (end, begin) = self.near.split_at_mut(self.start);
        begin.iter_mut().chain(end).flatten().chain(&mut self.far)
    }
}

impl<T: Copy, const N: usize> Extend<T> for Queue<T, N> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push_back(item));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn queue_has_the_order_of_a_deque(steps in prop::collection::vec(0..5, 0..200)) {
            let mut queue = Queue::<usize, 3>::new(Vec::new());
            let mut model = VecDeque::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => {
                        queue.push_back(number);
                        model.push_back(number);
                    }
                    2 => {
                        queue.push_front(number);
                        model.push_front(number);
                    }
                    _ => prop_assert_eq!(queue.pop_front(), model.pop_front()),
                }
                let items: Vec<usize> = queue.iter_mut().map(|item| *item).collect();
                prop_assert_eq!(&items, &Vec::from(model.clone()));
            }
        }
    }

    #[test]
    fn reserved_memory_is_enough_for_all_items() {
        let mut queue = Queue::<u8, 4>::new(Vec::with_capacity(10));
        let capacity = queue.far.capacity();
        (0..7).for_each(|item| queue.push_back(item));
        (0..7).for_each(|item| queue.push_front(item));
        assert_eq!(queue.far.capacity(), capacity);
        assert_eq!(std::iter::from_fn(|| queue.pop_front()).count(), 14);
    }
}
