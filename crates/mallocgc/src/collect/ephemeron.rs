//! Ephemerons in a cycle: values are marked once their keys are.
//!
//! A marker that scans an ephemeron visits the value if the key is marked, and
//! else adds the ephemeron to the list of those that wait (`pending`). When
//! nothing is grey, the list is looked through ([`revisit`]); usually no key
//! has been marked since, and that is all.
//!
//! If some have, their values may lead to further keys, and those to others: a
//! chain of a million ephemerons must not be looked through a million times. So
//! [`watch`] puts what waits into a table by key, and says in the page table
//! that these keys' spans are *watched*. Marking an object of a watched span
//! takes the marker's rare path, which looks the object up and makes grey the
//! ephemerons it is the key of. Each ephemeron is touched a constant number of times, and spans
//! that hold no key of a waiting ephemeron are marked as fast as ever.
//!
//! The table is of the collector's own memory. Without any, the list is looked through again and
//! again, which is slow and right.
//!
//! What still waits when marking is complete has a dead key and is cleared
//! ([`clear`]), before finalizers bring objects back: as weak handles are.
//!
//! Protection: the world is stopped and one thread marks. Only `pending` is
//! shared with other markers, before.

use crate::base::Address;
use crate::base::sync::{AtomicUsize, Ordering::Relaxed};
use crate::collect::mark::Marker;
use crate::collect::pending::{FREE, LAST, Pending};
use crate::heap::ephemeron::{EphemeronWords, Key};
use crate::heap::space::Space;
use crate::os::{OsError, Reservation};

/// Buckets of the first table.
const FIRST_BUCKETS: usize = 512;

/// The ephemeron at an address from a list.
fn words<'e>(address: usize) -> &'e EphemeronWords {
    // SAFETY: lists hold ephemerons that were scanned in this cycle: they are
    // allocated, and nothing is freed while the world is stopped.
    unsafe { EphemeronWords::at(Address::new(address)) }
}

/// Makes grey what waits and has its key marked by now; whether there was any.
pub(crate) fn revisit<const SHARED: bool>(
    space: &Space,
    marker: &mut Marker<'_, SHARED>,
    pending: &Pending,
) -> bool {
    let mut any = false;
    for_each(pending.take(), |address| {
        let ephemeron = words(address);
        ephemeron.link.store(FREE, Relaxed);
        if space.key_state(ephemeron.key()) == Key::Alive {
            marker.push_again(Address::new(address));
            any = true;
        } else {
            pending.push(&ephemeron.link, address);
        }
    });
    any
}

/// Marks from what is grey and from what waits until no key is marked any more
/// that something waits for.
pub(crate) fn watch<const SHARED: bool>(
    space: &Space,
    marker: &mut Marker<'_, SHARED>,
    pending: &Pending,
) {
    let Ok(keys) = WatchedKeys::new(FIRST_BUCKETS) else {
        return watch_without_memory(space, marker, pending);
    };
    marker.watched = Some(keys);
    marker.drain_own();
    loop {
        let first = pending.take();
        if first == LAST {
            break;
        }
        for_each(first, |address| {
            let ephemeron = words(address);
            ephemeron.link.store(FREE, Relaxed);
            match space.key_state(ephemeron.key()) {
                Key::Alive => marker.push_again(Address::new(address)),
                Key::Unmarked(found) => {
                    space.set_watched(space.span(found.span), true);
                    let keys = marker.watched.as_mut().expect("set above");
                    keys.insert(space, found.cell, address);
                }
                // It is cleared with the others.
                Key::Nowhere => {
                    let keys = marker.watched.as_mut().expect("set above");
                    keys.insert(space, Address::NULL, address);
                }
            }
        });
        marker.drain_own();
    }
    let keys = marker.watched.take().expect("set above");
    keys.for_each(|address| {
        let ephemeron = words(address);
        ephemeron.link.store(FREE, Relaxed);
        pending.push(&ephemeron.link, address);
    });
    space.for_each_span(|_, span| space.set_watched(span, false));
}

#[cold]
fn watch_without_memory<const SHARED: bool>(
    space: &Space,
    marker: &mut Marker<'_, SHARED>,
    pending: &Pending,
) {
    marker.drain_own();
    while revisit(space, marker, pending) {
        marker.drain_own();
    }
}

/// Marking is complete: what waits has a dead key. Returns how many there were.
pub(crate) fn clear(pending: &Pending) -> u64 {
    let mut cleared = 0;
    for_each(pending.take(), |address| {
        let ephemeron = words(address);
        ephemeron.clear();
        ephemeron.link.store(FREE, Relaxed);
        cleared += 1;
    });
    cleared
}

/// Calls `visit` with each ephemeron of a list, which it may put into another.
fn for_each(first: usize, mut visit: impl FnMut(usize)) {
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
    fn new(buckets: usize) -> Result<WatchedKeys, OsError> {
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

    fn insert(&mut self, space: &Space, cell: Address, address: usize) {
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

    fn for_each(&self, mut visit: impl FnMut(usize)) {
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
