//! A lock in a process that has one thread and no signal handlers.

use std::cell::{RefCell, RefMut};
use std::ops::{Deref, DerefMut};

#[derive(Debug)]
pub struct Lock<T>(RefCell<T>);

#[derive(Debug)]
pub struct Locked<'a, T>(RefMut<'a, T>);

impl<T> Lock<T> {
    pub fn new(value: T) -> Lock<T> {
        Lock(RefCell::new(value))
    }

    pub fn lock(&self) -> Option<Locked<'_, T>> {
        Some(Locked(self.0.borrow_mut()))
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
