//! External bytes: memory elsewhere that an object keeps.
//!
//! A small object may keep something large: the buffer of a vector, a texture, a mapped file.
//! Who tells the heap of it gets cycles in time; who does not waits for the heap
//! itself to grow. An [`External`] is such a statement, and lives where the memory does.
//!
//! Protection: the sum is the heap's (`heap::limits`); a guard belongs to its owner.

use crate::heap::error::AllocError;
use crate::heap::limits::Room;
use crate::raw::heap::{Heap, Inner};
use std::sync::Weak;

/// Says that so many bytes outside the heap go when an object goes. Dropping it takes
/// them off again; it may be dropped on any thread, in finalizers and callbacks, and after the heap.
///
/// The bytes count wherever bytes of objects do: to the trigger and the goal, to the memory
/// limit and to the heap limit. A guard does not keep the heap alive.
///
/// # Examples
///
/// ```
/// use mallocgc::raw::{Config, Heap};
/// let heap = Heap::new(Config::default())?;
/// let mut texture = heap.external(64 << 20);
/// assert_eq!(heap.stats().external_bytes, 64 << 20);
/// texture.resize(16 << 20);
/// assert_eq!(heap.stats().external_bytes, 16 << 20);
/// drop(texture);
/// assert_eq!(heap.stats().external_bytes, 0);
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[derive(Debug)]
#[must_use = "dropped at once it says nothing"]
pub struct External {
    heap: Weak<Inner>,
    bytes: usize,
    /// What was added to the sum: less than `bytes` where that was too large.
    added: usize,
}

impl Heap {
    /// Counts `bytes` outside the heap, which exist already: they count whatever the limits
    /// are, and allocation fails first when they are too many. The sum of all
    /// guards is counted up to `isize::MAX`.
    pub fn external(&self, bytes: usize) -> External {
        let mut external = self.no_external();
        external.resize(bytes);
        external
    }

    /// Counts `bytes` outside the heap that are about to be made.
    ///
    /// # Errors
    ///
    /// [`AllocError::LimitReached`] when the heap limit leaves no room for them; nothing is
    /// counted then.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocError, Config, Heap};
    /// let heap = Heap::new(Config { heap_limit_bytes: 64 << 20, ..Config::default() })?;
    /// let refused = heap.try_external(65 << 20).unwrap_err();
    /// assert_eq!(refused, AllocError::LimitReached { bytes: 65 << 20, limit_bytes: 64 << 20 });
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn try_external(&self, bytes: usize) -> Result<External, AllocError> {
        let mut external = self.no_external();
        external.try_resize(bytes)?;
        Ok(external)
    }

    fn no_external(&self) -> External {
        External { heap: self.inner().this.clone(), bytes: 0, added: 0 }
    }
}

impl External {
    /// The bytes stated last.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// States another number of bytes, which are there already.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap};
    /// let heap = Heap::new(Config::default())?;
    /// let mut texture = heap.external(4096);
    /// texture.resize(1 << 20);
    /// assert_eq!((texture.bytes(), heap.stats().external_bytes), (1 << 20, 1 << 20));
    /// drop(texture);
    /// assert_eq!(heap.stats().external_bytes, 0);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn resize(&mut self, bytes: usize) {
        let changed = self.change(bytes, Room::Taken);
        changed.expect("only room that is asked for can be refused");
    }

    /// States another number of bytes. More are about to be made; fewer are gone.
    ///
    /// # Errors
    ///
    /// [`AllocError::LimitReached`] when the heap limit leaves no room for the difference; the
    /// old number stands.
    pub fn try_resize(&mut self, bytes: usize) -> Result<(), AllocError> {
        self.change(bytes, Room::Asked)
    }

    fn change(&mut self, bytes: usize, room: Room) -> Result<(), AllocError> {
        let heap = self.heap.upgrade();
        if bytes > self.bytes {
            if let Some(inner) = &heap {
                self.added += inner.space.add_external(bytes - self.bytes, room)?;
                inner.external_grew();
            }
        } else {
            // What was not added need not be taken off; the rest is what there is less of.
            let less = self.added.saturating_sub(bytes);
            self.added -= less;
            if less != 0
                && let Some(inner) = &heap
            {
                inner.space.remove_external(less);
                inner.external_shrank();
            }
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for External {
    fn drop(&mut self) {
        self.resize(0);
    }
}

impl Inner {
    /// External bytes became more: as an allocation, that may make a cycle due.
    fn external_grew(&self) {
        self.after_growth();
        self.look_for_pressure();
    }
}

/// Guards cross threads: the object they belong to may.
const _: fn() = || {
    fn crosses_threads<T: Send + Sync>() {}
    crosses_threads::<External>();
};
