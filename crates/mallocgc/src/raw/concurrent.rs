//! Who runs a cycle beside the mutators: the heap's collector thread, whoever
//! asked for it, or the owner in steps.
//!
//! The thread `mallocgc-gc` is started by the first cycle that becomes due
//! in a heap that is marked so. It holds the cycle lock from the first stop of a
//! cycle to the last; who asks for a cycle meanwhile waits for the lock, and the
//! thread, which else leaves most of the processors to the mutators, hurries.
//!
//! A heap without threads is marked in steps: [`Mutator::step`]. Its cycle stays
//! open from one step to the next, and is ended by who asks for another.
//!
//! Protection: cycles are under the cycle lock, the thread's state behind its
//! mutex; no other lock is taken while that is held.

use crate::base::random::Random;
use crate::base::sync::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use crate::collect::concurrent::Slice;
use crate::collect::cycle::CycleReport;
use crate::observe::Event;
use crate::os;
use crate::raw::heap::{CycleExtensions, Force, GcError, Inner, SafeSection};
use crate::raw::mutator::Mutator;
use crate::raw::pacing::Paid;
use crate::raw::threads::{lock, wait_while};
use crate::world::callback;
use crate::world::mutator::MutatorRecord;
use crate::world::stop::StopTimedOut;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Bytes that the collector thread scans before it looks up, and what it did is
/// credit: some 100 microseconds. With half as many, looking up took a tenth of the
/// time.
const SLICE_BYTES: u64 = 128 << 10;

/// How long the thread looks for a moment when no mutator is between boundaries,
/// before it closes the gate: nobody waits then.
const PATIENCE: Duration = Duration::from_micros(500);

/// Between two such looks.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// A program that never had such a moment when it was looked for is asked again
/// this seldom.
const LULL_RETRY: u32 = 16;

/// The longest delay that a seed puts between slices.
const DELAY_MICROS: u64 = 100;

/// How far a step came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// No cycle is due.
    Idle,
    /// A cycle is open; there is more to mark.
    Marking,
    /// A cycle has ended.
    Finished,
}

/// The collector thread of a heap.
#[derive(Default)]
pub(crate) struct CollectorThread {
    state: Mutex<ThreadState>,
    wake: Condvar,
    /// Whether the thread was asked and has not looked yet.
    asked: AtomicBool,
    /// Whether a cycle is to begin although none is due.
    forced: AtomicBool,
    /// Threads that wait for the cycle lock.
    pub(crate) waiting: AtomicUsize,
    /// How often the next moment of rest is not looked for.
    skips: AtomicU32,
}

#[derive(Default)]
struct ThreadState {
    started: bool,
    kicked: bool,
}

impl CollectorThread {
    /// Wakes the thread, to see that the heap is being dropped.
    pub(crate) fn wake(&self) {
        drop(lock(&self.state));
        self.wake.notify_all();
    }
}

impl Inner {
    /// Whether a cycle that began now would be marked beside the mutators.
    pub(crate) fn marks_beside(&self) -> bool {
        // Relaxed: decided again by who begins.
        self.config.concurrent_from_bytes as u64 <= self.space.live_bytes.load(Relaxed)
            && !self.space.has_opaque_objects.load(Relaxed)
    }

    /// A cycle is due: asks the collector thread or, where there is none, the
    /// next mutator at a boundary. Where a cycle runs already and is late, who
    /// comes to a boundary waits for its end.
    pub(crate) fn announce_cycle(&self) {
        let thread = self.config.background && self.marks_beside();
        // Who found no memory waits for the cycle at the next boundary.
        if self.space.short_of_memory.load(Relaxed) {
            self.world.announce_cycle();
        }
        if self.space.is_marking() || !thread || !self.kick_collector() {
            self.world.announce_cycle();
        }
    }

    /// Has the collector thread run a cycle although none is due; `false` when
    /// there is no such thread.
    pub(crate) fn request_cycle(&self) -> bool {
        if !self.config.background || !self.marks_beside() {
            return false;
        }
        self.collector_thread.forced.store(true, Relaxed);
        self.kick_collector()
    }

    fn kick_collector(&self) -> bool {
        let thread = &self.collector_thread;
        // Relaxed: a filter; what counts is behind the mutex. The thread takes
        // it back before it looks. Looked at first, since every refill asks.
        if thread.asked.load(Relaxed) || thread.asked.swap(true, Relaxed) {
            return true;
        }
        let mut state = lock(&thread.state);
        state.kicked = true;
        if !state.started {
            state.started = self.threads.spawn(self, "mallocgc-gc", run_collector).is_ok();
        }
        let started = state.started;
        drop(state);
        if started {
            thread.wake.notify_one();
        } else {
            thread.asked.store(false, Relaxed);
        }
        started
    }

    /// Begins a cycle beside the mutators. The caller holds the cycle lock.
    pub(crate) fn begin_beside(&self, own: Option<&MutatorRecord>) -> Result<(), StopTimedOut> {
        let number = self.collector.cycles() + 1;
        self.tell_cycle(own, &Event::CycleBegin { number });
        let mut extensions = CycleExtensions { inner: self };
        let request = self.request();
        let parts = self.parts();
        let flip_nanos =
            self.concurrent.begin(&self.collector, parts, own, request, &mut extensions)?;
        self.begin_cycle_limits(flip_nanos);
        self.begin_pacing();
        Ok(())
    }

    /// Goes to the end of the open cycle without a rest. The caller holds the
    /// cycle lock.
    pub(crate) fn finish_beside(
        &self,
        own: Option<&MutatorRecord>,
    ) -> Result<CycleReport, StopTimedOut> {
        loop {
            let cpu = os::thread_cpu_nanos();
            while self.mark_beside(SLICE_BYTES) == Slice::More {}
            self.concurrent.add_cpu(os::thread_cpu_nanos() - cpu);
            if let Some(report) = self.try_finish_beside(own)? {
                return Ok(report);
            }
        }
    }

    fn mark_beside(&self, budget: u64) -> Slice {
        let done = self.concurrent.mark(&self.collector, self.parts(), budget);
        self.pacing.count_scanned(done.scanned_bytes, Paid::No);
        done.slice
    }

    fn try_finish_beside(
        &self,
        own: Option<&MutatorRecord>,
    ) -> Result<Option<CycleReport>, StopTimedOut> {
        let mut extensions = CycleExtensions { inner: self };
        let request = self.request();
        self.concurrent.finish(&self.collector, self.parts(), own, request, &mut extensions)
    }

    /// One turn of the collector thread: a cycle, if one is due or open.
    fn collect_in_background(&self) {
        let ended = {
            let _cycle = self.cycle.lock();
            let forced = self.collector_thread.forced.swap(false, Relaxed);
            if !self.concurrent.is_open() {
                let put_off = os::now_nanos() < self.retry_nanos.load(Relaxed);
                if put_off || !(forced || self.is_due()) {
                    return;
                }
                if !self.marks_beside() {
                    self.world.announce_cycle();
                    return;
                }
            }
            match self.mark_in_background() {
                Ok(Some(mut report)) => {
                    self.note_cycle(&mut report, false);
                    true
                }
                Ok(None) => false,
                Err(error) => {
                    self.put_off(None, error);
                    false
                }
            }
        };
        if ended {
            self.after_cycle(Force::IfNeeded);
        }
    }

    /// A whole cycle, or the rest of one; `None` when the heap is being dropped.
    fn mark_in_background(&self) -> Result<Option<CycleReport>, StopTimedOut> {
        if !self.concurrent.is_open() {
            self.wait_for_lull();
            self.begin_beside(None)?;
        }
        // As the thread's time goes on: asking is a system call.
        let mut cpu = os::thread_cpu_nanos();
        let begun_cpu = cpu;
        let mut delays = Random::new(self.config.mark_delay_seed + self.collector.cycles());
        loop {
            if self.threads.quits() {
                return Ok(None);
            }
            let budget = match self.config.mark_delay_seed {
                0 => SLICE_BYTES,
                _ => delay(&mut delays),
            };
            let slice = self.mark_beside(budget);
            let now = os::thread_cpu_nanos();
            self.concurrent.add_cpu(now - cpu);
            cpu = now;
            self.revise_pacing();
            if self.should_rest(cpu - begun_cpu) {
                self.rest();
            }
            if slice == Slice::Empty {
                self.wait_for_lull();
                if let Some(report) = self.try_finish_beside(None)? {
                    return Ok(Some(report));
                }
            }
        }
    }
}

impl Inner {
    /// Waits a moment for one when every mutator is safe, unless somebody waits, or the
    /// program has had no such moments lately.
    fn wait_for_lull(&self) {
        let thread = &self.collector_thread;
        // Relaxed: the thread's own.
        let skips = thread.skips.load(Relaxed);
        if skips != 0 {
            return thread.skips.store(skips - 1, Relaxed);
        }
        let begin = os::now_nanos();
        while !self.world.is_at_rest() {
            if os::now_nanos() - begin >= PATIENCE.as_nanos() as u64 {
                return thread.skips.store(LULL_RETRY, Relaxed);
            }
            // Relaxed: a hint.
            if thread.waiting.load(Relaxed) != 0 || self.threads.quits() {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Waits, or not, and says how much to scan next.
fn delay(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => std::thread::sleep(Duration::from_micros(random.below(DELAY_MICROS))),
        1 => std::thread::yield_now(),
        _ => {}
    }
    1 << random.below(16)
}

/// The body of the collector thread.
fn run_collector(inner: &Inner) {
    let thread = &inner.collector_thread;
    loop {
        {
            let mut state = lock(&thread.state);
            // A cycle that a mutator kept from its last stop is not given up.
            let pause = inner.concurrent.is_open().then_some(inner.config.stop_limit);
            let idle = |state: &mut ThreadState| !state.kicked && !inner.threads.quits();
            state = wait_while(&thread.wake, state, pause, idle);
            state.kicked = false;
        }
        if inner.threads.quits() {
            return;
        }
        // Before it looks: who asks later is heard later.
        thread.asked.store(false, Relaxed);
        inner.collect_in_background();
    }
}

impl Mutator {
    /// A boundary at which the owner of a heap without threads gives the
    /// collector some time: begins a cycle that is due or asked for, goes on with
    /// an open one until about `budget_bytes` of objects were scanned, ends it
    /// when everything is marked. So no step takes long but for the stops, which
    /// of a single mutator are short.
    ///
    /// Heaps that are not marked beside their mutators
    /// ([`Config::concurrent_from_bytes`](crate::raw::Config)) do a whole cycle
    /// in one step.
    ///
    /// # Errors
    ///
    /// As [`gc`](Mutator::gc).
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout, Step};
    ///
    /// let config = Config { background: false, concurrent_from_bytes: 0, ..Config::default() };
    /// let heap = Heap::new(config)?;
    /// let mutator = heap.attach()?;
    /// mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// assert_eq!(mutator.step(Force::IfNeeded, 4096)?, Step::Idle);
    /// while mutator.step(Force::NowAndSweep, 4096)? != Step::Finished {}
    /// assert_eq!(heap.stats().heap_objects, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn step(&self, force: Force, budget_bytes: usize) -> Result<Step, GcError> {
        if callback::is_inside() {
            return Err(GcError::Reentrant);
        }
        let inner = self.inner();
        let step = {
            let record = self.record();
            let _safe = SafeSection::begin(inner, record);
            let _cycle = inner.lock_cycle();
            inner.step(record, force, budget_bytes as u64).map_err(|error| {
                inner.put_off(Some(record), error);
                GcError::StopTimedOut(error)
            })?
        };
        if step == Step::Finished {
            inner.after_cycle(force);
        }
        Ok(step)
    }
}

impl Mutator {
    /// Waits until no marking runs beside the mutators. As long as this one reaches
    /// no boundary none begins.
    pub(crate) fn end_marking(&self) {
        let inner = self.inner();
        while self.is_marking() {
            let _safe = SafeSection::begin(inner, self.record());
            let _cycle = inner.lock_cycle();
            if inner.concurrent.is_open() {
                match inner.finish_beside(Some(self.record())) {
                    Ok(mut report) => inner.note_cycle(&mut report, false),
                    // Somebody keeps the last stop from coming; tried again.
                    Err(error) => inner.put_off(Some(self.record()), error),
                }
            }
        }
    }
}

impl Inner {
    /// [`Mutator::step`], under the cycle lock.
    fn step(&self, own: &MutatorRecord, force: Force, budget: u64) -> Result<Step, StopTimedOut> {
        let forced = force != Force::IfNeeded;
        if !self.concurrent.is_open() {
            if !forced && !self.is_due() {
                return Ok(Step::Idle);
            }
            if !self.marks_beside() {
                let mut report = self.collect_stopped(Some(own))?;
                self.note_cycle(&mut report, forced);
                return Ok(Step::Finished);
            }
            self.begin_beside(Some(own))?;
            return Ok(Step::Marking);
        }
        let cpu = os::thread_cpu_nanos();
        let slice = self.mark_beside(budget);
        self.concurrent.add_cpu(os::thread_cpu_nanos() - cpu);
        if slice == Slice::Empty
            && let Some(mut report) = self.try_finish_beside(Some(own))?
        {
            self.note_cycle(&mut report, forced);
            return Ok(Step::Finished);
        }
        Ok(Step::Marking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{Config, Heap, TypeLayout};

    /// As if there had been no memory for what a mutator noted.
    #[test]
    fn a_cycle_that_lost_a_note_begins_anew_in_its_last_stop() {
        let config = Config {
            background: false,
            concurrent_from_bytes: 0,
            gc_percent: None,
            verify: true,
            ..Config::default()
        };
        let heap = Heap::new(config).unwrap();
        let mutator = heap.attach().unwrap();
        let layout = heap.layout(&TypeLayout::mask(2, 0b11)).unwrap();
        let make = || mutator.new_object(layout).unwrap();
        let write = |from: core::ptr::NonNull<u8>, to: *mut u8| {
            // SAFETY: the first word of an object that is in hand.
            unsafe { mutator.write(from.as_ptr().cast(), to) };
        };
        let (first, second, third) = (make(), make(), make());
        mutator.push_root(first);
        write(first, second.as_ptr());
        write(second, third.as_ptr());
        assert_eq!(mutator.step(Force::Now, 1), Ok(Step::Marking));
        let newborn = make();
        write(newborn, third.as_ptr());
        write(first, newborn.as_ptr());
        heap.inner().world.shades.lose();
        while mutator.step(Force::NowAndSweep, 1 << 20).unwrap() != Step::Finished {}
        let is_alive = |object| heap.find_object(crate::base::Address::from_ptr(object)).is_some();
        for object in [first, third, newborn] {
            assert!(is_alive(object.as_ptr()));
        }
        // Marked from the roots as they were in the end.
        assert!(!is_alive(second.as_ptr()));
        assert_eq!(heap.stats().heap_objects, 3);
        mutator.truncate_roots(0);
        while mutator.step(Force::NowAndSweep, 1 << 20).unwrap() != Step::Finished {}
        assert_eq!(heap.stats().heap_objects, 0);
    }
}
