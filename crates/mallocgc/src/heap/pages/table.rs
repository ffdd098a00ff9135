//! An array with a place for every entry it may ever have, committed from the front
//! as far as it is used.

use crate::os::{OsError, Reservation};

/// A type of which all-zero bytes are a value.
///
/// # Safety
///
/// They are, and the type needs no drop.
pub(super) unsafe trait Zeroed: Copy {}

// SAFETY: an integer.
unsafe impl Zeroed for u64 {}

/// Entries that begin as zero bytes.
///
/// # Invariants
///
/// 1. The first `committed` entries lie in committed bytes of `memory`, which
///    nobody else has.
#[derive(Debug)]
pub(super) struct Table<T> {
    memory: Reservation,
    committed: usize,
    entries: core::marker::PhantomData<T>,
}

impl<T: Zeroed> Table<T> {
    /// A table that may grow to `capacity` entries.
    pub(super) fn new(capacity: usize) -> Result<Table<T>, OsError> {
        let memory = Reservation::reserve(capacity * size_of::<T>(), align_of::<T>())?;
        Ok(Table { memory, committed: 0, entries: core::marker::PhantomData })
    }

    /// Commits so that there are `count` entries at least. Costs a system call
    /// once in 64 KiB.
    pub(super) fn cover(&mut self, count: usize) -> Result<(), OsError> {
        /// What is committed at a time.
        const STEP_BYTES: usize = 64 << 10;
        if count <= self.committed {
            return Ok(());
        }
        let bytes = (count * size_of::<T>()).next_multiple_of(STEP_BYTES).min(self.memory.bytes());
        // What is committed already is done again, which changes nothing.
        self.memory.commit(0, bytes)?;
        self.committed = bytes / size_of::<T>();
        assert!(count <= self.committed, "{count} entries in a table of {}", self.committed);
        Ok(())
    }

    #[inline]
    pub(super) fn entries(&self) -> &[T] {
        // SAFETY: by invariant 1 the bytes are there and ours; they began as
        // zeros, which `T` allows, and only `T`s were written since.
        unsafe { core::slice::from_raw_parts(self.memory.base().as_ptr(), self.committed) }
    }

    #[inline]
    pub(super) fn entries_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed for writing.
        unsafe { core::slice::from_raw_parts_mut(self.memory.base().as_ptr(), self.committed) }
    }
}
