//! How many handles a weak record has, and whether its object lives.
//!
//! Handles come and go without a lock, on any thread. The last one to go and
//! the death of the object meet in this word: whichever is second frees the
//! record. New handles are made from others, or from the table while its lock
//! is held, under which the object's death is noted as well.
//!
//! Protection: atomics only; `loom_models` below has every order of events.

use crate::base::sync::{Ordering, model::AtomicU64};
use Ordering::{AcqRel, Relaxed};

/// Bit of the count: the record is in its object's table.
const ATTACHED: u64 = 1 << 63;

/// The count of a weak record.
#[repr(transparent)]
pub(crate) struct WeakCount(AtomicU64);

#[cfg(not(loom))]
const _: () = assert!(size_of::<WeakCount>() == size_of::<u64>());

/// What dropping a handle means for its record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LastHandle {
    /// There are other handles.
    No,
    /// It was the last, and the object lives: the record stays in its table.
    LeavesRecord,
    /// It was the last, and the object is gone: the record is free.
    FreesRecord,
}

impl WeakCount {
    /// The count of a record with one handle, in a table.
    pub(super) const FIRST: u64 = ATTACHED | 1;

    /// Counts one handle more; whether it is the only one. The caller has a
    /// handle, or found the record in its table under the stripe's lock.
    #[inline]
    pub(crate) fn add(&self) -> bool {
        // Relaxed: the caller already has access.
        self.0.fetch_add(1, Relaxed) & !ATTACHED == 0
    }

    /// Counts one handle less.
    #[inline]
    pub(crate) fn subtract(&self) -> LastHandle {
        // AcqRel: what the other handles and the collector did to the record
        // comes before its reuse.
        match self.0.fetch_sub(1, AcqRel) {
            1 => LastHandle::FreesRecord,
            Self::FIRST => LastHandle::LeavesRecord,
            _ => LastHandle::No,
        }
    }

    /// The object is gone; whether the record is free now.
    #[inline]
    pub(super) fn detach(&self) -> bool {
        // AcqRel: as in `subtract`.
        self.0.fetch_and(!ATTACHED, AcqRel) == ATTACHED
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    /// A record with one handle, its table, and the heap.
    struct Model {
        count: WeakCount,
        in_table: Mutex<bool>,
        /// References that the record holds to its heap.
        holds: AtomicUsize,
        /// Read by who uses the record, written when it is freed; loom reports
        /// a use that is not ordered before.
        freed: UnsafeCell<u32>,
    }

    impl Model {
        fn new() -> Model {
            Model {
                count: WeakCount(AtomicU64::new(WeakCount::FIRST)),
                in_table: Mutex::new(true),
                holds: AtomicUsize::new(1),
                freed: UnsafeCell::new(0),
            }
        }

        /// Reads the record, as its handles and the collector do.
        fn read(&self) {
            // SAFETY: loom checks that nobody writes it meanwhile.
            assert_eq!(self.freed.with(|freed| unsafe { *freed }), 0, "used after it was freed");
        }

        fn free(&self) {
            // SAFETY: loom checks that nobody else touches it meanwhile.
            self.freed.with_mut(|freed| unsafe { *freed += 1 });
        }

        fn drop_handle(&self) {
            self.read();
            let last = self.count.subtract();
            if last == LastHandle::No {
                return;
            }
            if last == LastHandle::FreesRecord {
                self.free();
            }
            self.holds.fetch_sub(1, AcqRel);
        }

        /// Makes a handle if the object lives, and drops it.
        fn make_and_drop(&self) {
            let table = self.in_table.lock().unwrap();
            if !*table {
                return;
            }
            let only = self.count.add();
            drop(table);
            if only {
                self.holds.fetch_add(1, AcqRel);
            }
            self.drop_handle();
        }

        fn clone_and_drop_both(&self) {
            self.count.add();
            self.drop_handle();
            self.drop_handle();
        }

        /// The collector finds the object dead.
        fn die(&self) {
            let mut table = self.in_table.lock().unwrap();
            *table = false;
            self.read();
            if self.count.detach() {
                self.free();
            }
        }
    }

    fn check(others: &'static [fn(&Model)]) {
        loom::model(move || {
            let model = Arc::new(Model::new());
            let threads: Vec<_> = others
                .iter()
                .map(|act| {
                    let model = model.clone();
                    thread::spawn(move || act(&model))
                })
                .collect();
            model.die();
            for thread in threads {
                thread.join().unwrap();
            }
            // SAFETY: all threads are joined.
            let freed = model.freed.with(|freed| unsafe { *freed });
            assert_eq!(freed, 1, "the record is freed once");
            assert_eq!(model.holds.load(Relaxed), 0, "and holds the heap no more");
        });
    }

    #[test]
    fn loom_the_last_handle_and_the_death_free_the_record_once() {
        check(&[Model::drop_handle]);
        check(&[Model::clone_and_drop_both]);
    }

    #[test]
    fn loom_handles_made_from_the_table_beside_the_last_one() {
        check(&[Model::drop_handle, Model::make_and_drop]);
    }
}
