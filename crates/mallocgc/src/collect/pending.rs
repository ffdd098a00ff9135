//! Ephemerons that wait to see whether their keys live: a list to which any
//! marker adds, and which one takes whole.
//!
//! The links lie in the ephemerons themselves, so that a list of any length
//! needs no memory. A link of [`FREE`] means that its ephemeron is in no list;
//! the last of a list has [`LAST`].
//!
//! Protection: an ephemeron is claimed by exchanging its link; the list is one
//! word. `loom_models` below has every order of events.

use crate::base::sync::{Ordering, model::AtomicUsize};
use Ordering::{Acquire, Relaxed, Release};

/// The link of what is in no list.
pub(crate) const FREE: usize = 0;
/// The link of a list's last. No object has this address.
pub(crate) const LAST: usize = 1;

/// The list.
#[derive(Debug)]
pub(crate) struct Pending {
    head: AtomicUsize,
}

impl Pending {
    pub(crate) fn new() -> Pending {
        Pending { head: AtomicUsize::new(LAST) }
    }

    /// Adds the ephemeron at `address`, which has this link, unless it is in a
    /// list; whether it was added. Two markers may come to the same one.
    pub(crate) fn push(&self, link: &AtomicUsize, address: usize) -> bool {
        // Relaxed, both: the exchange decides who goes on, and publishes nothing.
        if link.compare_exchange(FREE, LAST, Relaxed, Relaxed).is_err() {
            return false;
        }
        let mut head = self.head.load(Relaxed);
        loop {
            link.store(head, Relaxed);
            // Release: publishes the link; pairs with the Acquire in `take`.
            // Relaxed on failure: the head is only compared.
            match self.head.compare_exchange_weak(head, address, Release, Relaxed) {
                Ok(_) => return true,
                Err(now) => head = now,
            }
        }
    }

    /// Takes the whole list: the address of its first, or [`LAST`].
    pub(crate) fn take(&self) -> usize {
        // Acquire: pairs with the Release in `push`.
        self.head.swap(LAST, Acquire)
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// Two ephemerons, at the addresses 2 and 3, with something that is written
    /// before they are added.
    struct Model {
        pending: Pending,
        links: [AtomicUsize; 2],
        scanned: [UnsafeCell<u32>; 2],
    }

    impl Model {
        fn scan(&self, index: usize) -> bool {
            self.pending.push(&self.links[index], index + 2)
        }

        fn walk(&self) -> Vec<usize> {
            let mut seen = Vec::new();
            let mut at = self.pending.take();
            while at != LAST {
                seen.push(at);
                // SAFETY: loom checks that who filled it has published it.
                assert_eq!(self.scanned[at - 2].with(|scanned| unsafe { *scanned }), 1);
                at = self.links[at - 2].load(Relaxed);
            }
            seen
        }
    }

    /// Two markers scan one ephemeron both and another one each way round: every
    /// one is in the list once, whether it is taken at the end or in between.
    #[test]
    fn loom_an_ephemeron_waits_once() {
        loom::model(|| {
            let links = [AtomicUsize::new(FREE), AtomicUsize::new(FREE)];
            let scanned = [UnsafeCell::new(1), UnsafeCell::new(0)];
            let model = Arc::new(Model { pending: Pending::new(), links, scanned });
            let other = model.clone();
            let other = thread::spawn(move || {
                // SAFETY: only this thread writes it.
                other.scanned[1].with_mut(|scanned| unsafe { *scanned = 1 });
                u32::from(other.scan(1)) + u32::from(other.scan(0))
            });
            let mut added = u32::from(model.scan(0));
            let mut seen = model.walk();
            added += other.join().unwrap();
            seen.extend(model.walk());
            seen.sort_unstable();
            assert_eq!(seen, [2, 3], "each is in the list once");
            assert_eq!(added, 2);
            assert_eq!(model.pending.take(), LAST);
        });
    }
}
