//! Who may hold a span that is being swept: sweepers count themselves in, and
//! the collector waits until all have left.
//!
//! One word holds the count and the bit that closes the gate. All changes of
//! one word have one order, in which a sweeper's entry is either before the
//! closing, so that the collector waits for it, or after it, so that the
//! sweeper sees the bit and steps back. Two words would need every access to
//! be sequentially consistent for the same.
//!
//! Protection: one atomic word; `loom_models` below has every order of events.
//!
//! Not here: sweeping (`sweep`), and why mutators are not enough to stop it
//! (`docs/design/sweeping.md`).

use crate::base::sync::Ordering::{Acquire, Relaxed, Release};
use crate::base::sync::model::{AtomicUsize, pause};

/// Bit of the word: nobody may begin. The others count sweepers.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// The gate that sweepers pass; see the [module](self).
///
/// # Invariants
///
/// 1. The low bits of `word` count the passes there are, and those who are
///    finding out that they get none.
#[derive(Debug)]
pub(crate) struct SweepGate {
    word: AtomicUsize,
}

/// This thread may hold a span popped for sweeping.
#[derive(Debug)]
#[must_use]
pub(crate) struct SweepPass<'g> {
    gate: &'g SweepGate,
}

impl SweepGate {
    /// An open gate that nobody has passed.
    pub(crate) fn new() -> SweepGate {
        SweepGate { word: AtomicUsize::new(0) }
    }

    /// The right to sweep; `None` while a cycle keeps sweeping closed.
    #[inline]
    pub(crate) fn begin(&self) -> Option<SweepPass<'_>> {
        // Acquire: pairs with the Release in `open`, so that the sweeper sees
        // which spans the cycle left unswept, and their bitmaps.
        let before = self.word.fetch_add(1, Acquire);
        let pass = SweepPass { gate: self };
        (before & CLOSED == 0).then_some(pass)
    }

    /// Lets nobody begin any more, and waits for those who have.
    pub(crate) fn close(&self) {
        // Relaxed: the loads below bring what sweepers did.
        let before = self.word.fetch_or(CLOSED, Relaxed);
        debug_assert!(before & CLOSED == 0, "sweeping is closed twice");
        let mut attempt = 0;
        // Acquire: pairs with the Release in `SweepPass::drop`, so that the
        // collector sees each span as its sweeper left it.
        while self.word.load(Acquire) != CLOSED {
            pause(attempt);
            attempt = attempt.saturating_add(1);
        }
    }

    /// Lets sweeping begin.
    pub(crate) fn open(&self) {
        // Release: pairs with the Acquire in `begin`.
        self.word.fetch_and(!CLOSED, Release);
    }
}

impl Drop for SweepPass<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `SweepGate::close`.
        self.gate.word.fetch_sub(1, Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn nobody_begins_while_the_gate_is_closed() {
        let gate = SweepGate::new();
        drop(gate.begin().expect("open"));
        gate.close();
        assert!(gate.begin().is_none());
        gate.open();
        assert!(gate.begin().is_some(), "who was refused has left no trace");
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// The gate, and a span for each sweeper: written by its sweeper and, while
    /// sweeping is closed, by the collector. Loom reports any race.
    struct Model {
        gate: SweepGate,
        spans: [UnsafeCell<u32>; 2],
    }

    impl Model {
        fn new() -> Arc<Model> {
            let spans = [UnsafeCell::new(0), UnsafeCell::new(0)];
            Arc::new(Model { gate: SweepGate::new(), spans })
        }

        fn write(&self, span: usize) {
            // SAFETY: loom checks that nobody else touches it meanwhile.
            self.spans[span].with_mut(|span| unsafe { *span += 1 });
        }

        /// Sweeps a span if it may; how often it did.
        fn sweep(&self, span: usize) -> u32 {
            let Some(_pass) = self.gate.begin() else { return 0 };
            self.write(span);
            1
        }

        /// A cycle: marks in the bitmaps of all spans, and turns them.
        fn collect(&self) {
            self.gate.close();
            (0..self.spans.len()).for_each(|span| self.write(span));
            self.gate.open();
        }

        /// What the spans were written, when everybody is done.
        fn totals(&self) -> [u32; 2] {
            // SAFETY: all threads are joined.
            [0, 1].map(|span| self.spans[span].with(|span| unsafe { *span }))
        }
    }

    #[test]
    fn loom_no_span_is_held_while_sweeping_is_closed() {
        loom::model(|| {
            let model = Model::new();
            let other = model.clone();
            let sweeper = thread::spawn(move || other.sweep(0) + other.sweep(0));
            model.collect();
            let swept = sweeper.join().unwrap();
            assert_eq!(model.totals(), [1 + swept, 1], "a write was lost");
            assert!(model.gate.begin().is_some(), "a sweeper was counted for good");
        });
    }

    #[test]
    fn loom_two_sweepers_and_a_cycle() {
        // Three threads: all schedules with up to three preemptions.
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let model = Model::new();
            let sweepers = [0, 1].map(|span| {
                let model = model.clone();
                thread::spawn(move || model.sweep(span))
            });
            model.collect();
            let swept = sweepers.map(|sweeper| sweeper.join().unwrap());
            assert_eq!(model.totals(), swept.map(|swept| 1 + swept));
        });
    }

    /// Another cycle finds the gate as the first one left it.
    #[test]
    fn loom_a_sweeper_between_two_cycles() {
        loom::model(|| {
            let model = Model::new();
            let other = model.clone();
            let sweeper = thread::spawn(move || other.sweep(0));
            model.collect();
            model.collect();
            let swept = sweeper.join().unwrap();
            assert_eq!(model.totals(), [2 + swept, 2]);
        });
    }
}
