//! A cycle beside the mutators: marking between two short stops.
//!
//! ```text
//! begin:  finish the last sweep → stop → flush caches → clear hooks → roots
//!         → newborns, barrier on → start
//! mark:   slices, each as long as its budget; mutators run
//! finish: stop → flush caches → take what mutators noted → mark it
//!         → finalizers, weak handles, cleanups → flip the bitmaps → pace → start
//! ```
//!
//! What could be reached at the first stop is marked, and what was allocated
//! since is newborn: nobody can have anything else. `finish` goes back to
//! marking when mutators have noted more than a stop should take, a few times
//! at most. When what a mutator noted was lost for want of memory, `finish`
//! forgets all marks and marks anew in its stop.
//!
//! A cycle may be left open between slices, for its owner to go on with: grey
//! objects wait in the pool (`work`), everything else is in `Open`.
//!
//! Protection: as for `cycle`: the caller of every function but `try_mark` holds
//! the cycle lock. One marker at a time works beside the mutators, under a lock of its own. The argument is in `docs/design/concurrent.md`.

use crate::base::claim::MarkingCycle;
use crate::base::sync::{AtomicU64, Lock, LockGuard, Ordering::Relaxed, Rank};
use crate::collect::cycle::{
    Collector, CycleReport, Extensions, Marking, NoUnwinding, Parts, Request,
};
use crate::collect::ephemeron;
use crate::collect::mark::{Marked, Marker};
use crate::collect::pacer::goal::lasting_bytes;
use crate::os;
use crate::world::callback;
use crate::world::mutator::MutatorRecord;
use crate::world::stop::{StopTimedOut, Stopped};

/// Bytes that the last stop scans at most before it gives up: some 20
/// microseconds.
const STOP_WORK_BYTES: u64 = 64 << 10;

/// Stops that may give up; the next one scans what there is. Each has marked
/// something, so that no cycle is endless, but mutators that overwrite much
/// could make it long.
const ROUNDS_MAX: u32 = 8;

/// A cycle between its stops.
#[derive(Clone, Copy, Debug)]
struct Open {
    report: CycleReport,
    marked: Marked,
    /// Bytes of objects at the first stop.
    flip_bytes: u64,
    /// Last stops that gave up.
    rounds: u32,
}

/// How far a slice came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slice {
    /// There is more to mark.
    More,
    /// Nothing is grey that the marker knows of.
    Empty,
}

/// What a slice did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    /// How far it came.
    pub slice: Slice,
    /// Bytes it scanned.
    pub scanned_bytes: u64,
}

/// The cycle of a heap that is marked beside its mutators, if one is open.
#[derive(Debug)]
pub struct Concurrent {
    open: Lock<Option<Open>>,
    /// Who holds it marks beside the mutators, alone.
    marker: Lock<()>,
}

impl Default for Concurrent {
    fn default() -> Concurrent {
        Concurrent { open: Lock::new(Rank::Observe, None), marker: Lock::new(Rank::Marker, ()) }
    }
}

impl Concurrent {
    /// Whether a cycle is open.
    pub fn is_open(&self) -> bool {
        self.open.lock().is_some()
    }

    /// Begins a cycle; returns how long mutators stood. `own` is the calling thread's
    /// mutator, safe.
    ///
    /// # Errors
    ///
    /// When a mutator does not stop in time; nothing has changed then.
    pub fn begin(
        &self,
        collector: &Collector,
        parts: Parts<'_>,
        own: Option<&MutatorRecord>,
        request: Request,
        extensions: &mut dyn Extensions,
    ) -> Result<u64, StopTimedOut> {
        let space = parts.space;
        let mut report = CycleReport::begin(space);
        let stopped = parts.world.stop(own, request.stop_limit)?;
        let no_unwinding = NoUnwinding;
        collector.prepare(parts, request, &stopped, extensions, &mut report);
        let cpu_begin = os::thread_cpu_nanos();
        let rooting = os::now_nanos();
        let helper_nanos = AtomicU64::new(0);
        collector.work.begin(1);
        let mut marker = Marker::new(space, &collector.work);
        self.marking(collector, parts, request, &stopped, &helper_nanos).visit_roots(&mut marker);
        report.roots = marker.visited_roots;
        let marked = marker.marked;
        marker.offer_all();
        drop(marker);
        space.begin_newborns(MarkingCycle::numbered(collector.cycles() + 1));
        // Nothing is due while it runs, until the pacer says when it is late.
        space.trigger_bytes.store(u64::MAX, Relaxed);
        stopped.for_each_mutator(|mutator| _ = mutator.cache.take_granted());
        let flip_bytes = space.live_bytes.load(Relaxed);
        report.roots_nanos = os::now_nanos() - rooting;
        report.mark_cpu_nanos = os::thread_cpu_nanos() - cpu_begin;
        report.workers = 1;
        space.open_sweep();
        parts.world.withdraw_cycle();
        // Not zero, by which it is told from a cycle in one stop.
        let pause = os::now_nanos() - report.begin_nanos - report.finish_sweep_nanos;
        report.flip_pause_nanos = pause.max(1);
        *self.open.lock() = Some(Open { report, marked, flip_bytes, rounds: 0 });
        core::mem::forget(no_unwinding);
        drop(stopped);
        Ok(report.flip_pause_nanos)
    }

    /// Marks beside the mutators until about `budget` bytes were scanned.
    ///
    /// # Panics
    ///
    /// When no cycle is open.
    pub fn mark(&self, collector: &Collector, parts: Parts<'_>, budget: u64) -> Done {
        let alone = self.marker.lock();
        self.mark_alone(&alone, collector, parts, budget)
    }

    /// As [`mark`](Concurrent::mark), unless somebody else is at it. May be
    /// called without the cycle lock, by a mutator that is active and has seen
    /// that marking runs: the cycle stays open until that mutator stops.
    pub fn try_mark(&self, collector: &Collector, parts: Parts<'_>, budget: u64) -> Option<Done> {
        let alone = self.marker.try_lock()?;
        Some(self.mark_alone(&alone, collector, parts, budget))
    }

    fn mark_alone(
        &self,
        _alone: &LockGuard<'_, ()>,
        collector: &Collector,
        parts: Parts<'_>,
        budget: u64,
    ) -> Done {
        let begin = os::now_nanos();
        let mut left = budget.max(1);
        // Trace functions.
        let _inside = callback::enter();
        let no_unwinding = NoUnwinding;
        let mut marker = Marker::beside(parts.space, &collector.work);
        let slice = loop {
            if !marker.drain_for(&mut left) {
                break Slice::More;
            }
            if !parts.world.shades.take(|value| marker.visit(value)) {
                break Slice::Empty;
            }
        };
        marker.offer_all();
        let marked = marker.marked;
        drop(marker);
        core::mem::forget(no_unwinding);
        let mut open = self.open.lock();
        let open = open.as_mut().expect("a cycle is open");
        open.marked += marked;
        open.report.mark_nanos += os::now_nanos() - begin;
        Done { slice, scanned_bytes: budget.max(1) - left }
    }

    /// Counts processor time of marking in the open cycle, if there is one.
    pub fn add_cpu(&self, nanos: u64) {
        if let Some(open) = self.open.lock().as_mut() {
            open.report.mark_cpu_nanos += nanos;
        }
    }

    /// Ends the cycle; `None` when mutators have noted much, so that there is more
    /// to mark first. `own` is as for
    /// [`begin`](Concurrent::begin).
    ///
    /// # Errors
    ///
    /// When a mutator does not stop in time; the cycle stays open.
    ///
    /// # Panics
    ///
    /// When no cycle is open.
    pub fn finish(
        &self,
        collector: &Collector,
        parts: Parts<'_>,
        own: Option<&MutatorRecord>,
        request: Request,
        extensions: &mut dyn Extensions,
    ) -> Result<Option<CycleReport>, StopTimedOut> {
        let asked = os::now_nanos();
        let stopped = parts.world.stop(own, request.stop_limit)?;
        let no_unwinding = NoUnwinding;
        let mut open = self.open.lock().take().expect("a cycle is open");
        let (space, work) = (parts.space, &collector.work);
        let cpu_begin = os::thread_cpu_nanos();
        space.close_sweep();
        stopped.for_each_mutator(|mutator| mutator.cache.flush(space));
        let mut marker = Marker::new(space, work);
        stopped.take_shades(|value| marker.visit(value));
        let lost = parts.world.shades.take_lost();
        let mut budget = STOP_WORK_BYTES;
        let inside = callback::enter();
        while !lost && !marker.drain_for(&mut budget) {
            if open.rounds < ROUNDS_MAX {
                open.rounds += 1;
                open.marked += marker.marked;
                open.report.mark_cpu_nanos += os::thread_cpu_nanos() - cpu_begin;
                *self.open.lock() = Some(open);
                drop(marker);
                space.open_sweep();
                core::mem::forget(no_unwinding);
                drop(stopped);
                return Ok(None);
            }
            budget = u64::MAX;
        }
        drop(inside);
        let helper_nanos = AtomicU64::new(0);
        let marking = self.marking(collector, parts, request, &stopped, &helper_nanos);
        open.marked = if lost {
            drop(marker);
            work.discard();
            ephemeron::forget(&work.pending);
            space.forget_marks();
            open.flip_bytes = space.live_bytes.load(Relaxed);
            open.report.restarts += 1;
            marking.run(extensions, &mut open.report)
        } else {
            marking.settle(&mut marker, open.marked, extensions, &mut open.report)
        };
        let newborn_bytes = space.live_bytes.load(Relaxed) - open.flip_bytes;
        let percent = request.pacer.gc_percent;
        open.report.lasting_bytes =
            lasting_bytes(open.marked.bytes, newborn_bytes, open.flip_bytes, percent);
        open.marked.bytes += newborn_bytes;
        open.report.mark_cpu_nanos += os::thread_cpu_nanos() - cpu_begin;
        open.report.rounds = u64::from(open.rounds);
        collector.conclude(parts, request, &stopped, open.marked, &mut open.report);
        open.report.end_stop_nanos = stopped.stop_nanos();
        open.report.pause_nanos = open.report.end_nanos - asked;
        core::mem::forget(no_unwinding);
        drop(stopped);
        work.trim();
        Ok(Some(open.report))
    }

    fn marking<'c>(
        &self,
        collector: &'c Collector,
        parts: Parts<'c>,
        request: Request,
        stopped: &'c Stopped<'c>,
        helper_nanos: &'c AtomicU64,
    ) -> Marking<'c> {
        let verify = request.verify;
        Marking { collector, parts, stopped, verify, helpers: 0, helper_nanos }
    }
}
