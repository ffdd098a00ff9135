//! The two words by which mutators and the collector agree who runs.
//!
//! A mutator writes its [`State`] and then reads the gate's poll word; the
//! collector writes the poll word and then reads the states. Between write and
//! read each side has a fence (`os::fence`), so at least one of them sees the
//! other: a mutator that the collector found safe cannot have missed that the
//! gate is closed.
//!
//! Protection: atomics only. Waiting and waking is the world's (`stop`).

use crate::base::sync::{Ordering, model::AtomicU32};
use crate::os;
use Ordering::{Acquire, Relaxed, Release};

/// Bit of the poll word: the world is stopping or stopped.
pub(crate) const STOP: u32 = 1;
/// Bit of the poll word: the heap has grown to its trigger.
pub(crate) const CYCLE_DUE: u32 = 2;
/// Bit of the poll word: a mutator was dropped where it could not be detached.
pub(crate) const ABANDONED: u32 = 4;
/// Bit of the poll word, up for ever where light fences are too weak. It is there so
/// that entering and leaving look at one word, and run the full fence out of line.
const FENCES: u32 = 8;
/// The bits that ask a mutator at a boundary for something.
pub(crate) const REQUESTS: u32 = STOP | CYCLE_DUE | ABANDONED;

/// The thread may touch the heap.
const ACTIVE: u32 = 1;
/// The thread touches nothing until it has entered again.
const SAFE: u32 = 0;

/// Whether a mutator may touch the heap.
#[derive(Debug)]
pub(crate) struct State(AtomicU32);

impl State {
    pub(crate) fn safe() -> State {
        State(AtomicU32::new(SAFE))
    }

    /// Whether the mutator may touch the heap, as seen by the collector.
    pub(crate) fn is_active(&self) -> bool {
        // Acquire: pairs with the Release in `Gate::leave`, so that what the
        // mutator wrote to the heap is seen.
        self.0.load(Acquire) == ACTIVE
    }
}

/// The poll word.
#[derive(Debug)]
pub(crate) struct Gate {
    poll_word: AtomicU32,
}

impl Gate {
    pub(crate) fn new() -> Gate {
        let bits = if os::is_asymmetric() { 0 } else { FENCES };
        Gate { poll_word: AtomicU32::new(bits) }
    }

    /// The word, for a look that the slow path repeats.
    #[inline(always)]
    pub(crate) fn poll_word(&self) -> u32 {
        // Relaxed: a hint; who acts on it takes a lock or enters anew.
        self.poll_word.load(Relaxed)
    }

    /// The word itself, for generated code to poll.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.poll_word
    }

    /// Raises a bit that asks for attention.
    pub(crate) fn raise(&self, bit: u32) {
        // Release: pairs with the Acquire in `lower`.
        self.poll_word.fetch_or(bit, Release);
    }

    /// Takes a bit down, before what it asks for is done.
    pub(crate) fn lower(&self, bit: u32) {
        // Acquire: pairs with the Release in `raise`, so that who takes the
        // bit down sees why it was raised.
        self.poll_word.fetch_and(!bit, Acquire);
    }

    /// Makes a mutator active; `false`, and safe again, if the gate is closed.
    #[inline(always)]
    pub(crate) fn try_enter(&self, state: &State) -> bool {
        state.0.store(ACTIVE, Relaxed);
        // Pairs with the heavy fence in `close`.
        os::light_fence();
        // Acquire: pairs with the Release in `open`, so that what the
        // collector did is seen.
        self.poll_word.load(Acquire) & (STOP | FENCES) == 0 || self.try_enter_slow(state)
    }

    /// The light fence was too weak, or the gate is closed.
    #[cold]
    #[inline(never)]
    fn try_enter_slow(&self, state: &State) -> bool {
        os::full_fence();
        // Acquire: as above.
        let open = self.poll_word.load(Acquire) & STOP == 0;
        if !open {
            state.0.store(SAFE, Release);
        }
        open
    }

    /// As `try_enter`, and `false` too if a cycle is due. The collector may be waiting
    /// then: who is refused enters by the slower way, which tells it.
    #[inline(always)]
    pub(crate) fn try_enter_idle(&self, state: &State) -> bool {
        state.0.store(ACTIVE, Relaxed);
        // Pairs with the heavy fence in `close`.
        os::light_fence();
        // Acquire: as in `try_enter`.
        let word = self.poll_word.load(Acquire);
        if word & (STOP | FENCES | CYCLE_DUE) == 0 {
            return true;
        }
        if word & CYCLE_DUE == 0 {
            return self.try_enter_slow(state);
        }
        state.0.store(SAFE, Release);
        false
    }

    /// Makes a mutator active whether the gate is open or not: inside the section of another that is active and stays so for longer.
    /// Under the lock that the collector reads states with, so that it has not passed this one by.
    pub(crate) fn enter_within(&self, state: &State) {
        // Relaxed: published by the lock. What the collector did the other mutator has seen, and its thread this one's.
        state.0.store(ACTIVE, Relaxed);
    }

    /// Makes a mutator safe; what was asked of it, `STOP` among it if the
    /// collector may be waiting for it.
    #[inline(always)]
    pub(crate) fn leave(&self, state: &State) -> u32 {
        // Release: pairs with the Acquire in `State::is_active`.
        state.0.store(SAFE, Release);
        // Pairs with the heavy fence in `close`: a collector that saw us
        // active is seen by us, and told.
        os::light_fence();
        match self.poll_word.load(Relaxed) {
            word if word & (STOP | FENCES) == 0 => word,
            _ => self.leave_slow(),
        }
    }

    /// As `try_enter_slow`.
    #[cold]
    #[inline(never)]
    fn leave_slow(&self) -> u32 {
        os::full_fence();
        self.poll_word() & REQUESTS
    }

    /// Closes the gate. Every state read afterwards is either safe for good
    /// or belongs to a mutator that will see the gate closed when it leaves.
    /// `alone` says that there is no other mutator to fence against.
    pub(crate) fn close(&self, alone: bool) {
        self.poll_word.fetch_or(STOP, Relaxed);
        if !alone {
            os::heavy_fence();
        }
    }

    /// Opens the gate.
    pub(crate) fn open(&self) {
        // Release: pairs with the Acquire in `try_enter`.
        self.poll_word.fetch_and(!STOP, Release);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    struct Model {
        gate: Gate,
        states: [State; 2],
        /// What a mutator writes while active and the collector reads while
        /// the world is stopped; loom reports any race.
        heaps: [UnsafeCell<u32>; 2],
    }

    impl Model {
        fn new() -> Model {
            Model {
                gate: Gate::new(),
                states: [State::safe(), State::safe()],
                heaps: [UnsafeCell::new(0), UnsafeCell::new(0)],
            }
        }

        /// Enters, works, leaves; gives up when the gate is closed. Returns
        /// whether the world would tell the collector, which it does when a
        /// mutator finds the gate closed and when `leave` says so.
        fn mutate(&self, index: usize) -> bool {
            if !self.gate.try_enter(&self.states[index]) {
                return true;
            }
            // SAFETY: loom checks that nobody else touches it meanwhile.
            self.heaps[index].with_mut(|heap| unsafe { *heap += 1 });
            self.gate.leave(&self.states[index]) & STOP != 0
        }

        /// Stops the world if it can be had without waiting.
        fn collect(&self, mutators: usize) {
            self.gate.close(false);
            if self.states[..mutators].iter().all(|state| !state.is_active()) {
                for heap in &self.heaps[..mutators] {
                    // SAFETY: as in `mutate`.
                    heap.with_mut(|heap| unsafe { *heap += 1 });
                }
            }
            self.gate.open();
        }
    }

    #[test]
    fn loom_no_mutator_runs_while_the_world_is_stopped() {
        loom::model(|| {
            let model = Arc::new(Model::new());
            let mutator = {
                let model = model.clone();
                thread::spawn(move || {
                    model.mutate(0);
                    model.mutate(0);
                })
            };
            model.collect(1);
            mutator.join().unwrap();
        });
    }

    #[test]
    fn loom_two_mutators_and_a_collector() {
        // Three threads: all schedules with up to three preemptions.
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let model = Arc::new(Model::new());
            let threads = [0, 1].map(|index| {
                let model = model.clone();
                thread::spawn(move || {
                    model.mutate(index);
                })
            });
            model.collect(2);
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    /// A mutator adds a thread, which the open gate is not asked for, and leaves when that has left.
    #[test]
    fn loom_a_thread_inside_a_section_ends_before_the_world_is_stopped() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let model = Arc::new(Model::new());
            let lock = Arc::new(loom::sync::Mutex::new(()));
            let outer = {
                let (model, lock) = (model.clone(), lock.clone());
                thread::spawn(move || {
                    if !model.gate.try_enter(&model.states[0]) {
                        return;
                    }
                    let guard = lock.lock().unwrap();
                    model.gate.enter_within(&model.states[1]);
                    drop(guard);
                    let inner = model.clone();
                    let inner = thread::spawn(move || {
                        // SAFETY: as in `mutate`.
                        inner.heaps[1].with_mut(|heap| unsafe { *heap += 1 });
                        inner.gate.leave(&inner.states[1]);
                    });
                    // SAFETY: as in `mutate`.
                    model.heaps[0].with_mut(|heap| unsafe { *heap += 1 });
                    inner.join().unwrap();
                    model.gate.leave(&model.states[0]);
                })
            };
            let guard = lock.lock().unwrap();
            model.collect(2);
            drop(guard);
            outer.join().unwrap();
        });
    }

    #[test]
    fn loom_a_mutator_seen_active_reports_when_it_leaves() {
        loom::model(|| {
            let model = Arc::new(Model::new());
            let mutator = {
                let model = model.clone();
                thread::spawn(move || model.mutate(0))
            };
            model.gate.close(false);
            let seen_active = model.states[0].is_active();
            // Never opened: a mutator that was active must say so.
            let reported = mutator.join().unwrap();
            assert!(!seen_active || reported, "the collector would wait for ever");
        });
    }
}
