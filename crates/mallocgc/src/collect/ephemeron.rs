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
use crate::base::sync::Ordering::Relaxed;
use crate::collect::mark::Marker;
use crate::collect::pending::{FREE, LAST, Pending};
use crate::collect::watched_keys::{WatchedKeys, for_each, words};
use crate::heap::ephemeron::Key;
use crate::heap::space::Space;

/// Buckets of the first table.
const FIRST_BUCKETS: usize = 512;

/// Makes grey what waits and has its key marked by now; whether there was any.
pub(crate) fn revisit(space: &Space, marker: &mut Marker<'_, false>, pending: &Pending) -> bool {
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
pub(crate) fn watch(space: &Space, marker: &mut Marker<'_, false>, pending: &Pending) {
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
fn watch_without_memory(space: &Space, marker: &mut Marker<'_, false>, pending: &Pending) {
    marker.drain_own();
    while revisit(space, marker, pending) {
        marker.drain_own();
    }
}

/// Marking begins anew: nothing waits.
pub(crate) fn forget(pending: &Pending) {
    for_each(pending.take(), |address| words(address).link.store(FREE, Relaxed));
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
