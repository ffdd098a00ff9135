//! Handles that keep an object alive from anywhere.

use crate::base::Address;
use crate::heap::error::AllocError;
use crate::raw::heap::Heap;
use crate::world::roots::RootSlot;
use std::ptr::NonNull;

/// Keeps an object alive. May be sent, cloned and dropped on any thread at
/// any time; dropping it takes effect at the next cycle.
#[derive(Debug)]
pub struct Root {
    slot: NonNull<RootSlot>,
    heap: Heap,
}

// SAFETY: the slot's words are atomic, and it lives as long as the heap.
unsafe impl Send for Root {}
// SAFETY: as for `Send`.
unsafe impl Sync for Root {}

impl Root {
    pub(crate) fn new(heap: &Heap, object: NonNull<u8>) -> Result<Root, AllocError> {
        let inner = heap.inner();
        let slot = inner
            .roots
            .add(inner.space.meta(), Address::from_ptr(object.as_ptr()))
            .map_err(|error| AllocError::from_meta(0, error))?;
        Ok(Root { slot, heap: heap.clone() })
    }

    fn slot(&self) -> &RootSlot {
        // SAFETY: slots live as long as the heap, which `self.heap` keeps.
        unsafe { self.slot.as_ref() }
    }

    /// The object.
    #[inline]
    pub fn get(&self) -> NonNull<u8> {
        NonNull::new(self.slot().get().as_ptr()).expect("a root is not null")
    }

    /// Lets the handle keep another object alive instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let make = || mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE);
    /// let (first, second) = (make()?, make()?);
    /// let root = heap.root(first)?;
    /// let clone = root.try_clone()?;
    /// root.set(second);
    /// assert_eq!((root.get(), clone.get()), (second, first));
    /// mutator.gc(Force::NowAndSweep)?;
    /// assert_eq!(heap.stats().heap_objects, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set(&self, object: NonNull<u8>) {
        self.heap.inner().roots.set(self.slot(), Address::from_ptr(object.as_ptr()));
    }

    /// The same where the world cannot be stopped, so that no cycle reads the table: on the thread of a mutator that is
    /// active.
    #[inline]
    pub(crate) fn set_active(&self, object: NonNull<u8>) {
        self.slot().set(Address::from_ptr(object.as_ptr()));
    }

    /// Another handle to the same object.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub fn try_clone(&self) -> Result<Root, AllocError> {
        Root::new(&self.heap, self.get())
    }

    /// The heap of the object.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.heap.inner().roots.release(self.slot());
    }
}
