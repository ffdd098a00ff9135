//! Sixty-four mark bits, and who sets one first.
//!
//! A marker that claims a bit scans the object; all others pass it by. With
//! one marker that is a load and a store, a seventh of the time of an atomic
//! OR (`docs/design/marking.md`); with several it is the OR, after a look,
//! since most references lead to what is marked already.
//!
//! Protection: one atomic word; `loom_models` below has every order of events.

use crate::base::sync::{Ordering::Relaxed, model::AtomicU64};

/// A word of the bitmap that takes marks.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct MarkWord(AtomicU64);

#[cfg(not(loom))]
const _: () = assert!(size_of::<MarkWord>() == size_of::<u64>()); // the bitmap counts on it

impl MarkWord {
    /// Whether one of the bits is set.
    #[inline(always)]
    pub(crate) fn has(&self, bit: u64) -> bool {
        // Relaxed: who looks has set it itself, or will claim it.
        self.0.load(Relaxed) & bit != 0
    }

    /// Sets `bit`, when no one else marks; `false` when it was set.
    #[inline(always)]
    pub(crate) fn claim_alone(&self, bit: u64) -> bool {
        // Relaxed: only this thread writes.
        let now = self.0.load(Relaxed);
        if now & bit != 0 {
            return false;
        }
        self.0.store(now | bit, Relaxed);
        true
    }

    /// Sets `bit`; `false` when it was set. Of several that claim a bit one
    /// gets `true`.
    #[inline(always)]
    pub(crate) fn claim_shared(&self, bit: u64) -> bool {
        // Relaxed throughout: a mark orders nothing. Marks are read by others
        // after the phase, whose end publishes all of them; the object was
        // made before the phase began, or is handed over behind a lock.
        self.0.load(Relaxed) & bit == 0 && self.0.fetch_or(bit, Relaxed) & bit == 0
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A word of marks, and the objects it speaks of: written by whoever claims
    /// them. Loom reports a race.
    struct Model {
        word: MarkWord,
        scans: [UnsafeCell<u32>; 2],
    }

    impl Model {
        /// Follows references to these objects.
        fn mark(&self, objects: &[usize]) {
            for &object in objects {
                if self.word.claim_shared(1 << object) {
                    // SAFETY: loom checks that nobody else touches it.
                    self.scans[object].with_mut(|scans| unsafe { *scans += 1 });
                }
            }
        }
    }

    /// Two markers that come to the same objects in different orders: each is
    /// scanned once, and no mark is lost to the neighbour's.
    #[test]
    fn loom_one_marker_claims_an_object() {
        loom::model(|| {
            let scans = [UnsafeCell::new(0), UnsafeCell::new(0)];
            let model = Arc::new(Model { word: MarkWord(AtomicU64::new(0)), scans });
            let other = model.clone();
            let other = thread::spawn(move || other.mark(&[0, 1, 0]));
            model.mark(&[1, 0]);
            other.join().unwrap();
            assert_eq!(model.word.0.load(Relaxed), 0b11, "both are marked");
            for object in &model.scans {
                // SAFETY: both threads are done.
                assert_eq!(object.with(|scans| unsafe { *scans }), 1, "scanned once");
            }
        });
    }
}
