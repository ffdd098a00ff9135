//! Who reads a value for its references in this cycle: the marker, or a mutator
//! that is about to change it.
//!
//! A cell whose value has references in places that only a function knows is read
//! once in a cycle, before the first change. Who comes first claims it, reads it,
//! and says so. A mutator that finds it claimed waits for the end of that; from
//! then on, and until the next cycle, it changes the value without asking. The
//! marker never waits: what a mutator has claimed that mutator has noted before
//! the world stops.
//!
//! A claim names its cycle by number, so that none is ever taken back: one of
//! an earlier cycle counts as none.
//!
//! Protection: one atomic word, in the cell. What it protects is beside it.

use super::sync::Ordering::{Acquire, Relaxed, Release};
use super::sync::model::{AtomicU32, pause};
use core::num::NonZeroU32;

/// A cycle that marks beside the mutators, told from the others by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MarkingCycle(NonZeroU32);

impl MarkingCycle {
    /// Numbers that follow each other: one bit of a claim says whether it has ended.
    const COUNT: u64 = (1 << 31) - 1;

    /// The cycle of this number.
    pub fn numbered(number: u64) -> MarkingCycle {
        let word = (number % MarkingCycle::COUNT) as u32 + 1;
        MarkingCycle(NonZeroU32::new(word).expect("one more than a number"))
    }

    /// The cycle that a marking word tells; `None` for zero.
    #[inline(always)]
    pub fn of_word(word: u32) -> Option<MarkingCycle> {
        NonZeroU32::new(word).map(MarkingCycle)
    }

    /// The marking word of the cycle.
    #[inline(always)]
    pub fn word(self) -> u32 {
        self.0.get()
    }

    #[inline(always)]
    fn reading(self) -> u32 {
        self.word() << 1 | 1
    }

    #[inline(always)]
    fn read(self) -> u32 {
        self.word() << 1
    }
}

/// The claim to a value; see the [module](self). Zeroed memory is a free one.
///
/// # Invariants
///
/// 1. While the word says that a cycle is reading, one thread is, and nobody changes
///    the value.
/// 2. Who changes the value while a cycle marks has seen the word say that this cycle has read it.
#[derive(Debug)]
#[repr(transparent)]
pub struct ReadClaim(AtomicU32);

impl ReadClaim {
    /// A value that no cycle has read.
    #[cfg(not(loom))]
    pub const fn new() -> ReadClaim {
        ReadClaim(AtomicU32::new(0))
    }

    /// A value that no cycle has read.
    #[cfg(loom)]
    pub fn new() -> ReadClaim {
        ReadClaim(AtomicU32::new(0))
    }

    /// Whether a cycle has read the value, so that it may be changed.
    #[inline(always)]
    pub fn is_read(&self, cycle: MarkingCycle) -> bool {
        // Acquire: pairs with the Release in `read_if_free`: what the reader has
        // read comes before the change.
        self.0.load(Acquire) == cycle.read()
    }

    /// Reads the value, unless somebody has or is at it. The marker's side.
    pub fn read_if_free(&self, cycle: MarkingCycle, read: impl FnOnce()) {
        let before = self.0.load(Relaxed);
        if before == cycle.read() || before == cycle.reading() {
            return;
        }
        // Acquire: what earlier cycles' changes left is seen by way of the stop that
        // began this one; this orders the reading behind the claim. Relaxed on failure:
        // somebody else is at it.
        if self.0.compare_exchange(before, cycle.reading(), Acquire, Relaxed).is_ok() {
            let unfinished = Unfinished;
            read();
            core::mem::forget(unfinished);
            // Release: pairs with the Acquire in `is_read`.
            self.0.store(cycle.read(), Release);
        }
    }

    /// Reads the value if nobody has, or waits for who is at it: then it may be
    /// changed. A mutator's side.
    pub fn read_or_wait(&self, cycle: MarkingCycle, read: impl FnOnce()) {
        self.read_if_free(cycle, read);
        let mut attempt = 0;
        while !self.is_read(cycle) {
            pause(attempt);
            attempt = attempt.saturating_add(1);
        }
    }
}

impl Default for ReadClaim {
    fn default() -> ReadClaim {
        ReadClaim::new()
    }
}

/// Ends the process when a trace function unwinds: references of the value are
/// unknown, and others may wait.
struct Unfinished;

impl Drop for Unfinished {
    fn drop(&mut self) {
        crate::fatal!("a trace function panicked");
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_once_in_a_cycle() {
        let claim = ReadClaim::new();
        let mut reads = 0;
        for number in [0, 1, 2, MarkingCycle::COUNT - 1, MarkingCycle::COUNT] {
            let cycle = MarkingCycle::numbered(number);
            assert!(!claim.is_read(cycle), "of an earlier cycle");
            claim.read_if_free(cycle, || reads += 1);
            assert!(claim.is_read(cycle));
            claim.read_or_wait(cycle, || panic!("read twice"));
            claim.read_if_free(cycle, || panic!("read twice"));
        }
        assert_eq!(reads, 5);
    }

    #[test]
    fn cycles_that_follow_each_other_differ() {
        for number in [0, 7, MarkingCycle::COUNT - 1, u64::MAX - 1] {
            let (one, next) = (MarkingCycle::numbered(number), MarkingCycle::numbered(number + 1));
            assert_ne!(one, next);
            assert_eq!(MarkingCycle::of_word(one.word()), Some(one));
        }
        assert_eq!(MarkingCycle::of_word(0), None);
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32 as Count;
    use loom::thread;

    /// A cell whose first value is to be seen by whoever marks, a mutator that
    /// changes it, and a marker. loom reports a reading that is not ordered with
    /// a change.
    struct Model {
        claim: ReadClaim,
        value: UnsafeCell<u32>,
        /// What readers saw: the snapshot.
        seen: Count,
        readings: Count,
    }

    const OLD: u32 = 7;

    impl Model {
        fn new() -> Arc<Model> {
            Arc::new(Model {
                claim: ReadClaim::new(),
                value: UnsafeCell::new(OLD),
                seen: Count::new(0),
                readings: Count::new(0),
            })
        }

        fn read(&self) {
            // SAFETY: loom checks that nobody writes it meanwhile.
            let value = self.value.with(|value| unsafe { *value });
            self.seen.store(value, Relaxed);
            self.readings.fetch_add(1, Relaxed);
        }

        fn change(&self, cycle: MarkingCycle) {
            if !self.claim.is_read(cycle) {
                self.claim.read_or_wait(cycle, || self.read());
            }
            // SAFETY: as in `read`.
            self.value.with_mut(|value| unsafe { *value += 1 });
        }
    }

    /// The value is read before it is changed, once, and never while it is.
    #[test]
    fn loom_a_value_is_read_before_its_first_change() {
        loom::model(|| {
            let (model, cycle) = (Model::new(), MarkingCycle::numbered(1));
            let mutator = {
                let model = model.clone();
                thread::spawn(move || {
                    model.change(cycle);
                    model.change(cycle);
                })
            };
            model.claim.read_if_free(cycle, || model.read());
            mutator.join().unwrap();
            assert_eq!(model.seen.load(Relaxed), OLD);
            assert_eq!(model.readings.load(Relaxed), 1);
        });
    }

    /// Two markers one after the other, as slices are, and a mutator between.
    #[test]
    fn loom_a_claimed_value_is_passed_over() {
        loom::model(|| {
            let (model, cycle) = (Model::new(), MarkingCycle::numbered(1));
            let marker = {
                let model = model.clone();
                thread::spawn(move || model.claim.read_if_free(cycle, || model.read()))
            };
            model.change(cycle);
            model.claim.read_if_free(cycle, || model.read());
            marker.join().unwrap();
            assert_eq!(model.seen.load(Relaxed), OLD);
            assert_eq!(model.readings.load(Relaxed), 1);
        });
    }
}
