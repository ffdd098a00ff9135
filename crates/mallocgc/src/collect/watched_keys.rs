//! Ephemerons that wait for their keys to be marked, by key.
//!
//! Not here: when they are put in and taken out (`ephemeron`, `mark`).

use crate::base::Address;
use crate::base::sync::{AtomicUsize, Ordering::Relaxed};
use crate::collect::pending::{FREE, LAST};
use crate::heap::ephemeron::{EphemeronWords, Key};
use crate::heap::space::Space;
use crate::os::{OsError, Reservation};

/// The ephemeron at an address from a list.
pub(super) fn words<'e>(address: usize) -> &'e EphemeronWords {
    // SAFETY: lists hold ephemerons that were scanned in this cycle: they are
    // allocated, and nothing is freed while the world is stopped.
    unsafe { EphemeronWords::at(Address::new(address)) }
}

/// Calls `visit` with each ephemeron of a list, which it may put into another.
pub(super) fn for_each(first: usize, mut visit: impl FnMut(usize)) {
    let mut at = first;
    while at != LAST {
        // Relaxed: the list was taken whole.
        let next = words(at).link.load(Relaxed);
        visit(at);
        at = next;
    }
}

/// Ephemerons that wait, by the cells of their keys.
///
/// # Invariants
///
/// 1. `memory` has `1 << shift` committed words, each the first of a list.
/// 2. Every ephemeron in a list has a key in the cell that led to the list, or
///    is in the list of no cell, that of null.
#[derive(Debug)]
pub(crate) struct WatchedKeys {
    memory: Reservation,
    shift: u32,
    count: usize,
}

impl WatchedKeys {
    pub(super) fn new(buckets: usize) -> Result<WatchedKeys, OsError> {
        let bytes = buckets * size_of::<usize>();
        let memory = Reservation::reserve(bytes, 4096)?;
        memory.commit(0, bytes)?;
        Ok(WatchedKeys { memory, shift: buckets.ilog2(), count: 0 })
    }

    /// The bucket of a cell; zero when it has no list.
    fn bucket(&self, cell: Address) -> &AtomicUsize {
        // Multiplied by a number without a pattern, of which the upper bits are taken.
        let hash = (cell.as_usize() as u64 >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.bucket_at((hash >> (64 - self.shift)) as usize)
    }

    fn bucket_at(&self, index: usize) -> &AtomicUsize {
        assert!(index >> self.shift == 0, "bucket {index} of {}", 1usize << self.shift);
        let place = self.memory.base().as_ptr::<AtomicUsize>();
        // SAFETY: checked, and invariant 1; zeroed memory holds atomics.
        unsafe { &*place.add(index) }
    }

    pub(super) fn insert(&mut self, space: &Space, cell: Address, address: usize) {
        self.count += 1;
        if self.count > 2 << self.shift {
            self.grow(space);
        }
        self.link_in(cell, address);
    }

    fn link_in(&self, cell: Address, address: usize) {
        let bucket = self.bucket(cell);
        // Relaxed, here and below: one thread marks. A bucket of zero ends as
        // a list does.
        words(address).link.store(bucket.load(Relaxed).max(LAST), Relaxed);
        bucket.store(address, Relaxed);
    }

    /// Four times the buckets, if there is memory; without it lists get longer.
    #[cold]
    fn grow(&mut self, space: &Space) {
        let Ok(mut larger) = WatchedKeys::new(4 << self.shift) else { return };
        larger.count = self.count;
        self.for_each(|address| {
            let cell = match space.key_state(words(address).key()) {
                Key::Unmarked(found) => found.cell,
                Key::Alive | Key::Nowhere => Address::NULL,
            };
            larger.link_in(cell, address);
        });
        *self = larger;
    }

    pub(super) fn for_each(&self, mut visit: impl FnMut(usize)) {
        for index in 0..1usize << self.shift {
            for_each(self.bucket_at(index).load(Relaxed).max(LAST), &mut visit);
        }
    }

    /// Takes out one ephemeron whose key lies in `cell` of `bytes`.
    pub(crate) fn take(&mut self, cell: Address, bytes: usize) -> Option<Address> {
        let bucket = self.bucket(cell);
        let (mut at, mut before) = (bucket.load(Relaxed).max(LAST), None::<usize>);
        while at != LAST {
            let ephemeron = words(at);
            let next = ephemeron.link.load(Relaxed);
            if ephemeron.key().offset_from(cell) < bytes {
                match before {
                    Some(before) => words(before).link.store(next, Relaxed),
                    None => bucket.store(next, Relaxed),
                }
                ephemeron.link.store(FREE, Relaxed);
                self.count -= 1;
                return Some(Address::new(at));
            }
            (before, at) = (Some(at), next);
        }
        None
    }
}
