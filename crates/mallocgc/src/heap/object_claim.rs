//! Who reads an object for its references in this cycle, where only a function
//! can: the marker, or a mutator that is about to change it.
//!
//! As `base::claim` for cells, with two bits beside the object's mark in place of a
//! word: one says that somebody reads it, the other that it was read. They lie
//! behind the span's bits in the two bitmaps, where cells of 16 bytes and more
//! leave half of each unused (`join` has the same place in spans without
//! references). Sweeping clears them for the next cycle.
//!
//! Protection: two atomic words; `loom_models` below has every order of events.

use crate::base::size_class::MAX_CELLS;
use crate::base::sync::{
    Ordering::{Acquire, Relaxed, Release},
    model::{AtomicU64, pause},
};

/// Words from a span's first bit to the first of these.
pub(crate) const CLAIM_OFFSET: usize = MAX_CELLS / 64 / 2;

/// Bytes of the smallest cell whose span has room for them.
pub(crate) const CLAIMED_BYTES_MIN: usize = 16;

/// Bits of sixty-four objects.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct ClaimWord(AtomicU64);

#[cfg(not(loom))]
const _: () = assert!(size_of::<ClaimWord>() == size_of::<u64>()); // the bitmap counts on it

/// The claim to one object.
///
/// # Invariants
///
/// 1. From when the bit is set in `begun` until it is set in `ended` one thread reads
///    the object, and nobody changes it.
/// 2. Who changes the object while a cycle marks has seen the bit in `ended`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectClaim<'s> {
    pub(crate) begun: &'s ClaimWord,
    pub(crate) ended: &'s ClaimWord,
    pub(crate) bit: u64,
}

impl ObjectClaim<'_> {
    /// Whether the object was read, so that it may be changed.
    #[inline]
    pub(crate) fn is_read(self) -> bool {
        // Acquire: pairs with the Release in `read_if_free`: what the reader has
        // read comes before the change.
        self.ended.0.load(Acquire) & self.bit != 0
    }

    /// Reads the object, unless somebody has or is at it. The marker's side.
    pub(crate) fn read_if_free(self, read: impl FnOnce()) {
        // Relaxed: a filter. Acquire: orders the reading behind the claim.
        if self.begun.0.load(Relaxed) & self.bit != 0
            || self.begun.0.fetch_or(self.bit, Acquire) & self.bit != 0
        {
            return;
        }
        read();
        // Release: pairs with the Acquire in `is_read`.
        self.ended.0.fetch_or(self.bit, Release);
    }

    /// Reads the object if nobody has, or waits for who is at it: then it may be
    /// changed. A mutator's side.
    pub(crate) fn read_or_wait(self, read: impl FnOnce()) {
        self.read_if_free(read);
        let mut attempt = 0;
        while !self.is_read() {
            pause(attempt);
            attempt = attempt.saturating_add(1);
        }
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// Two objects whose bits share their words, a mutator that changes them, and
    /// a marker. loom reports a reading that is not ordered with a change.
    struct Model {
        begun: ClaimWord,
        ended: ClaimWord,
        objects: [UnsafeCell<u32>; 2],
        /// Times that the first value of each was read.
        readings: [AtomicU64; 2],
    }

    impl Model {
        fn claim(&self, object: usize) -> ObjectClaim<'_> {
            ObjectClaim { begun: &self.begun, ended: &self.ended, bit: 1 << object }
        }

        fn read(&self, object: usize) {
            // SAFETY: loom checks that nobody writes it meanwhile.
            let value = self.objects[object].with(|value| unsafe { *value });
            assert_eq!(value, 0, "read after a change");
            self.readings[object].fetch_add(1, Relaxed);
        }

        fn mark(&self, object: usize) {
            self.claim(object).read_if_free(|| self.read(object));
        }

        fn change(&self, object: usize) {
            if !self.claim(object).is_read() {
                self.claim(object).read_or_wait(|| self.read(object));
            }
            // SAFETY: as in `read`.
            self.objects[object].with_mut(|value| unsafe { *value += 1 });
        }
    }

    /// An object is read before it is changed, once, whatever becomes of its neighbour.
    #[test]
    fn loom_an_object_is_read_before_its_first_change() {
        loom::model(|| {
            let model = Arc::new(Model {
                begun: ClaimWord(AtomicU64::new(0)),
                ended: ClaimWord(AtomicU64::new(0)),
                objects: [UnsafeCell::new(0), UnsafeCell::new(0)],
                readings: [AtomicU64::new(0), AtomicU64::new(0)],
            });
            let mutator = {
                let model = model.clone();
                thread::spawn(move || {
                    model.change(0);
                    model.change(0);
                    model.change(1);
                })
            };
            model.mark(1);
            model.mark(0);
            mutator.join().unwrap();
            for readings in &model.readings {
                assert_eq!(readings.load(Relaxed), 1);
            }
        });
    }
}
