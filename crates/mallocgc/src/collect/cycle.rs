//! One collection cycle, from the stop to the flip.
//!
//! ```text
//! finish the last sweep → stop the world → flush caches → clear hooks → roots
//! → mark → finalizers, weak handles, cleanups → flip the bitmaps → pace
//! → start the world → sweep lazily, in the background, or at once
//! ```
//!
//! Beside mutators it comes in two stops, told in `concurrent`; this file has
//! what both have in common.
//!
//! Protection: cycles are one at a time, under the cycle lock, which the
//! caller holds; from the stop on no mutator runs.
//!
//! Not here: when a cycle is due (`pacer`), who asks for one (`raw`).

use crate::base::sync::{AtomicU64, Lock, Ordering::Relaxed, Rank};
use crate::collect::ambiguous::{AmbiguousMarker, Client};
use crate::collect::ephemeron;
use crate::collect::finalize;
use crate::collect::mark::{Marked, Marker};
use crate::collect::pacer::{Pace, PacerSettings};
use crate::collect::verify::{self, Fault, Phase, Verify};
use crate::collect::work::SharedWork;
use crate::heap::space::Space;
use crate::heap::special::Decided;
use crate::os::{self, OsError};
use crate::world::callback;
use crate::world::mutator::MutatorRecord;
use crate::world::roots::{RootSink, Roots};
use crate::world::stop::{StopTimedOut, Stopped, World};
use crate::world::workers::Workers;
use std::time::Duration;

/// Smaller heaps are marked by one thread, unless a number was asked for: waking another
/// takes about as long as marking 5,000 objects.
const PARALLEL_FROM_BYTES: u64 = 8 << 20;
/// The same where words are ambiguous: such programs are judged by their processor time, of which several
/// markers take more, and by stops only where they are long.
const AMBIGUOUS_PARALLEL_FROM_BYTES: u64 = 64 << 20;

/// How many threads mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkerCount {
    /// So many, the one that asked among them.
    Fixed(usize),
    /// A quarter of the processors, four at most, as in the origin; and in a stop as many as
    /// there are mutators, since their processors have nothing else to do for the program.
    Automatic {
        /// Processors there are.
        processors: usize,
    },
}

impl WorkerCount {
    /// How many mark a heap with so many bytes of objects while that many mutators stand.
    pub(crate) fn in_stop(self, mutators: usize, heap_bytes: u64, is_ambiguous: bool) -> usize {
        let from_bytes =
            if is_ambiguous { AMBIGUOUS_PARALLEL_FROM_BYTES } else { PARALLEL_FROM_BYTES };
        match self {
            WorkerCount::Fixed(count) => count,
            WorkerCount::Automatic { .. } if heap_bytes < from_bytes => 1,
            WorkerCount::Automatic { processors } => {
                processors.div_ceil(4).min(4).max(mutators.min(processors))
            }
        }
    }
}

/// What a cycle works on.
#[derive(Clone, Copy)]
pub struct Parts<'h> {
    /// The heap's memory.
    pub space: &'h Space,
    /// Its mutators.
    pub world: &'h World,
    /// Its roots.
    pub roots: &'h Roots,
}

impl core::fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Parts")
    }
}

/// What the layer above adds to a cycle, while the world is stopped.
pub trait Extensions {
    /// Before roots are read: drop what pools keep.
    fn clear(&mut self);
    /// Behind the heap's own roots: those of a client that knows no types.
    fn roots(&mut self, _marker: &mut dyn AmbiguousMarker) {}
    /// What is reachable is marked; a client may mark more.
    fn reached(&mut self, _marker: &mut dyn AmbiguousMarker) {}
    /// The cycle is done and mutators go on next.
    fn resume(&mut self) {}
    /// Marking is complete; what is dead is decided next.
    fn marked(&mut self);
    /// An object sampled for the heap profile is gone; the numbers are those
    /// it was registered with. Called under a lock.
    fn sample_freed(&mut self, numbers: [u64; 2]);
    /// It is decided who lives: marked objects, and no others.
    fn decided(&mut self);
    /// Whether `decided` will look at the marks of objects one by one.
    fn looks_at_marks(&self) -> bool;
}

/// What a cycle needs besides the heap.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The pacer's settings.
    pub pacer: PacerSettings,
    /// How long mutators are waited for.
    pub stop_limit: Duration,
    /// Threads that mark.
    pub workers: WorkerCount,
    /// Whether the heap is checked after each phase.
    pub verify: Verify,
}

/// What a cycle did. Times are nanoseconds.
#[derive(Clone, Copy, Default, Debug)]
pub struct CycleReport {
    /// The cycle's number in its heap, from one.
    pub number: u64,
    /// When it began (`os::now_nanos`).
    pub begin_nanos: u64,
    /// Finishing the last cycle's sweep.
    pub finish_sweep_nanos: u64,
    /// From asking the mutators to stop until they had.
    pub stop_nanos: u64,
    /// Reading roots.
    pub roots_nanos: u64,
    /// Marking.
    pub mark_nanos: u64,
    /// Deciding finalizers, weak handles and cleanups.
    pub decide_nanos: u64,
    /// How long mutators stood, stopping included; beside mutators, in the last
    /// stop.
    pub pause_nanos: u64,
    /// Beside mutators: how long they stood in the first stop; else zero.
    pub flip_pause_nanos: u64,
    /// Beside mutators: how long the last stop was waited for.
    pub end_stop_nanos: u64,
    /// Beside mutators: last stops that found too much left to mark.
    pub rounds: u64,
    /// Beside mutators: whether marking began anew in the last stop.
    pub restarts: u64,
    /// When the mutators went on.
    pub end_nanos: u64,
    /// Processor time of all marking threads.
    pub mark_cpu_nanos: u64,
    /// Bytes of objects before marking.
    pub heap_start_bytes: u64,
    /// Bytes of objects when marking had ended.
    pub heap_end_bytes: u64,
    /// Bytes of the spans in use.
    pub heap_inuse_bytes: u64,
    /// Bytes marked.
    pub live_bytes: u64,
    /// Of those the ones of objects without references, where words are ambiguous.
    pub plain_bytes: u64,
    /// What of these the next goal counts: newborn objects, which survive unseen, in part
    /// ([`lasting_bytes`](crate::collect::pacer::goal::lasting_bytes)).
    pub lasting_bytes: u64,
    /// Objects marked.
    pub live_objects: u64,
    /// The trigger and goal this cycle answered to.
    pub trigger_bytes: u64,
    /// The goal of the next cycle.
    pub goal_bytes: u64,
    /// Mutators attached.
    pub mutators: u64,
    /// Threads that marked.
    pub workers: u64,
    /// Spans in use.
    pub spans: u64,
    /// References read from roots.
    pub roots: u64,
    /// The mark stack overflowed this often.
    pub overflows: u64,
    /// Ephemerons whose keys were found dead.
    pub ephemerons_cleared: u64,
    /// What became of finalizers, cleanups and weak handles.
    pub decided: Decided,
}

impl CycleReport {
    /// Whether it was marked beside the mutators.
    pub(crate) fn is_beside(&self) -> bool {
        self.flip_pause_nanos != 0
    }

    /// The time in which the collector had all of so many processors, or as much
    /// time of them as that.
    pub(crate) fn whole_nanos(&self, processors: u64) -> u64 {
        match self.flip_pause_nanos {
            0 => self.end_nanos.saturating_sub(self.begin_nanos),
            flip => flip + self.pause_nanos + self.mark_cpu_nanos / processors.max(1),
        }
    }

    /// A cycle begins: what the last one left is swept.
    pub(super) fn begin(space: &Space) -> CycleReport {
        let begin_nanos = os::now_nanos();
        space.finish_sweep();
        CycleReport {
            begin_nanos,
            finish_sweep_nanos: os::now_nanos() - begin_nanos,
            trigger_bytes: space.trigger_bytes.load(Relaxed),
            ..CycleReport::default()
        }
    }
}

/// The collector of one heap.
#[derive(Debug)]
pub struct Collector {
    pub(super) work: SharedWork,
    workers: Workers,
    cycles: AtomicU64,
    ephemerons_cleared: AtomicU64,
}

impl Collector {
    /// A collector for a heap of up to `heap_bytes`.
    ///
    /// # Errors
    ///
    /// When the system refuses address range for the mark stack.
    pub fn new(heap_bytes: usize) -> Result<Collector, OsError> {
        Ok(Collector {
            work: SharedWork::new(heap_bytes)?,
            workers: Workers::default(),
            cycles: AtomicU64::new(0),
            ephemerons_cleared: AtomicU64::new(0),
        })
    }

    /// Cycles completed.
    pub fn cycles(&self) -> u64 {
        self.cycles.load(Relaxed)
    }

    /// Ephemerons ever cleared because their keys died.
    pub fn ephemerons_cleared(&self) -> u64 {
        self.ephemerons_cleared.load(Relaxed)
    }

    /// Runs one cycle. The caller holds the cycle lock; `own` is the calling
    /// thread's mutator, safe.
    ///
    /// # Errors
    ///
    /// When a mutator does not stop in time; nothing has changed then.
    pub fn run(
        &self,
        parts: Parts<'_>,
        own: Option<&MutatorRecord>,
        request: Request,
        extensions: &mut dyn Extensions,
    ) -> Result<CycleReport, StopTimedOut> {
        let space = parts.space;
        let mut report = CycleReport::begin(space);
        if !space.ambiguous.is_on() {
            // Else its client has, where that may be.
            let heap_bytes = space.live_bytes.load(Relaxed);
            self.prepare_workers(request.workers, parts.world.attached(), heap_bytes);
        }
        let stopped = parts.world.stop(own, request.stop_limit)?;
        let no_unwinding = NoUnwinding;
        self.prepare(parts, request, &stopped, extensions, &mut report);
        let cpu_begin = os::thread_cpu_nanos();
        let live_bytes = space.live_bytes.load(Relaxed);
        let workers =
            request.workers.in_stop(stopped.attached(), live_bytes, space.ambiguous.is_on());
        // Threads are not started now: a stopped one may hold the system allocator's lock.
        let helpers = self.workers.ready().min(workers - 1);
        let helper_nanos = AtomicU64::new(0);
        let marking = Marking {
            collector: self,
            parts,
            stopped: &stopped,
            verify: request.verify,
            helpers,
            helper_nanos: &helper_nanos,
        };
        let marked = marking.run(extensions, &mut report);
        report.workers = helpers as u64 + 1;
        report.mark_cpu_nanos = os::thread_cpu_nanos() - cpu_begin + helper_nanos.load(Relaxed);
        self.conclude(parts, request, &stopped, marked, &mut report);
        report.pause_nanos = report.end_nanos - report.begin_nanos - report.finish_sweep_nanos;
        extensions.resume();
        core::mem::forget(no_unwinding);
        drop(stopped);
        self.work.trim();
        Ok(report)
    }

    /// Starts the threads that help to mark such a heap, as far as the system gives any.
    pub(crate) fn prepare_workers(&self, count: WorkerCount, mutators: usize, heap_bytes: u64) {
        self.workers.prepare(count.in_stop(mutators, heap_bytes, false) - 1);
    }

    /// The world has just been stopped: everything a cycle begins with.
    pub(super) fn prepare(
        &self,
        parts: Parts<'_>,
        request: Request,
        stopped: &Stopped<'_>,
        extensions: &mut dyn Extensions,
        report: &mut CycleReport,
    ) {
        let space = parts.space;
        space.close_sweep();
        report.stop_nanos = stopped.stop_nanos();
        report.mutators = stopped.attached() as u64;
        report.heap_start_bytes = space.live_bytes.load(Relaxed);
        stopped.for_each_mutator(|mutator| mutator.cache.flush(space));
        if space.ambiguous.is_on() || space.has_opaque_objects.load(Relaxed) {
            space.note_handed_out();
        }
        let _inside = callback::enter();
        extensions.clear();
        request.verify.after(Phase::Stopped, space, parts.roots, stopped);
    }

    /// Everything is decided: who is marked has survived.
    pub(super) fn conclude(
        &self,
        parts: Parts<'_>,
        request: Request,
        stopped: &Stopped<'_>,
        marked: Marked,
        report: &mut CycleReport,
    ) {
        let Parts { space, world, roots } = parts;
        self.ephemerons_cleared.fetch_add(report.ephemerons_cleared, Relaxed);
        report.live_bytes = marked.bytes;
        report.plain_bytes = marked.plain_bytes;
        if !report.is_beside() {
            report.lasting_bytes = marked.bytes;
        }
        report.live_objects = marked.objects;
        report.heap_end_bytes = space.live_bytes.load(Relaxed);
        space.end_newborns();
        space.flip();
        space.live_bytes.store(marked.bytes, Relaxed);
        space.fresh_bytes.store(0, Relaxed);
        space.short_of_memory.store(false, Relaxed);
        let pace: Pace = request.pacer.pace(report.lasting_bytes);
        space.trigger_bytes.store(pace.trigger_bytes, Relaxed);
        report.goal_bytes = pace.goal_bytes;
        report.spans = space.span_count.load(Relaxed) as u64;
        report.heap_inuse_bytes = space.used_bytes() as u64;
        {
            let _inside = callback::enter();
            request.verify.after(Phase::Flipped, space, roots, stopped);
        }
        space.open_sweep();
        world.withdraw_cycle();
        report.number = self.cycles.fetch_add(1, Relaxed) + 1;
        report.end_nanos = os::now_nanos();
    }
}

impl Collector {
    /// Stops the world and checks the heap between cycles; the first fault.
    ///
    /// The caller holds the cycle lock; `own` is as for [`run`](Collector::run).
    ///
    /// # Errors
    ///
    /// When a mutator does not stop in time.
    pub(crate) fn verify(
        &self,
        parts: Parts<'_>,
        own: Option<&MutatorRecord>,
        stop_limit: Duration,
    ) -> Result<Option<Fault>, StopTimedOut> {
        let space = parts.space;
        space.finish_sweep();
        let stopped = parts.world.stop(own, stop_limit)?;
        let no_unwinding = NoUnwinding;
        space.close_sweep();
        stopped.for_each_mutator(|mutator| mutator.cache.flush(space));
        let _inside = callback::enter();
        let result = verify::check(space, parts.roots, &stopped, Phase::Stopped);
        space.open_sweep();
        core::mem::forget(no_unwinding);
        Ok(result.err())
    }
}

/// Ends the process when a callback unwinds while the world is stopped: the
/// object graph is half read, and nobody could finish the cycle.
pub(super) struct NoUnwinding;

impl Drop for NoUnwinding {
    fn drop(&mut self) {
        crate::fatal!("a callback panicked during a collection");
    }
}

/// What was made grey before a drain: marked objects only, or unmarked ones with
/// finalizers as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pushed {
    Marked,
    Finalizable,
}

/// The mark phase in a stopped world, or its end.
pub(super) struct Marking<'c> {
    pub(super) collector: &'c Collector,
    pub(super) parts: Parts<'c>,
    pub(super) stopped: &'c Stopped<'c>,
    pub(super) verify: Verify,
    pub(super) helpers: usize,
    pub(super) helper_nanos: &'c AtomicU64,
}

impl<'c> Marking<'c> {
    /// All of it, from the roots on.
    pub(super) fn run(&self, extensions: &mut dyn Extensions, report: &mut CycleReport) -> Marked {
        let work = &self.collector.work;
        let begin = os::now_nanos();
        work.begin(self.helpers + 1);
        let space = self.parts.space;
        let mut marker = Marker::new(space, work);
        self.visit_roots(&mut marker);
        {
            let _inside = callback::enter();
            extensions.roots(&mut Client { marker: &mut marker, space, work });
        }
        report.roots = marker.visited_roots;
        let rooted = os::now_nanos();
        report.roots_nanos = rooted - begin;
        let total = self.drain(&mut marker);
        let total = self.settle(&mut marker, total, extensions, report);
        report.mark_nanos = os::now_nanos() - rooted - report.decide_nanos;
        total
    }

    /// What the roots reach is marked, `total` of it by others: marks what
    /// ephemerons and finalizers need, and decides.
    pub(super) fn settle(
        &self,
        marker: &mut Marker<'_, false>,
        mut total: Marked,
        extensions: &mut dyn Extensions,
        report: &mut CycleReport,
    ) -> Marked {
        let (space, work) = (self.parts.space, &self.collector.work);
        total += self.exhaust(marker, Pushed::Marked, report);
        {
            let _inside = callback::enter();
            extensions.reached(&mut Client { marker, space, work });
        }
        if finalize::push_finalizable(space, marker) {
            work.resume(self.helpers + 1);
            total += self.drain(marker);
            total += self.exhaust(marker, Pushed::Finalizable, report);
        }
        // Before objects with finalizers are marked for one more cycle: as weak
        // handles, ephemerons do not see them come back.
        report.ephemerons_cleared = ephemeron::clear(&work.pending);
        let marked = os::now_nanos();
        let _inside = callback::enter();
        if self.verify == Verify::EachPhase || extensions.looks_at_marks() {
            space.mark_newborns();
        }
        self.verify.after(Phase::Marked, space, self.parts.roots, self.stopped);
        extensions.marked();
        report.decided =
            finalize::decide(space, marker, &mut |sample| extensions.sample_freed(sample));
        extensions.decided();
        report.decide_nanos = os::now_nanos() - marked;
        total += marker.marked;
        total
    }

    /// Makes grey what roots lead to.
    pub(super) fn visit_roots(&self, marker: &mut Marker<'_, false>) {
        // Trace functions, root callbacks.
        let _inside = callback::enter();
        let mut sink = Sink(marker);
        self.stopped.visit_roots(self.parts.roots, &mut sink);
        finalize::visit_roots(self.parts.space, sink.0);
    }

    /// After a drain: marks what the mark stack had no room for, and what
    /// ephemerons lead to, until there is neither.
    fn exhaust(
        &self,
        marker: &mut Marker<'_, false>,
        pushed: Pushed,
        report: &mut CycleReport,
    ) -> Marked {
        let (space, work) = (self.parts.space, &self.collector.work);
        let mut total = Marked::default();
        loop {
            while work.take_overflow() {
                report.overflows += 1;
                marker.rescan();
                if pushed == Pushed::Finalizable {
                    finalize::scan_finalizable(space, marker);
                }
            }
            if !ephemeron::revisit(space, marker, &work.pending) {
                return total;
            }
            // What the first values lead to may be much, the rest is a chain.
            work.resume(self.helpers + 1);
            total += self.drain(marker);
            let _inside = callback::enter();
            ephemeron::watch(space, marker, &work.pending);
        }
    }

    /// Marks everything reachable from what is grey, on all workers.
    fn drain(&self, marker: &mut Marker<'_, false>) -> Marked {
        if self.helpers == 0 {
            let _inside = callback::enter();
            marker.drain();
            return Marked::default();
        }
        let work = &self.collector.work;
        marker.offer_all();
        let total = Lock::new(Rank::Observe, Marked::default());
        self.collector.workers.run(self.helpers, &|number| {
            let _inside = callback::enter();
            let begin = os::thread_cpu_nanos();
            let mut helper = Marker::worker(self.parts.space, work);
            helper.drain();
            *total.lock() += helper.marked;
            if number != 0 {
                self.helper_nanos.fetch_add(os::thread_cpu_nanos() - begin, Relaxed);
            }
        });
        // The last phases run on this thread alone.
        work.resume(1);
        *total.lock()
    }
}

/// Passes roots to a marker.
struct Sink<'m, 's>(&'m mut Marker<'s, false>);

impl RootSink for Sink<'_, '_> {
    fn reference(&mut self, value: usize) {
        self.0.visited_roots += 1;
        // Roots are handed over by safe functions: what names no object is
        // passed over, not believed.
        self.0.visit_ambiguous(value);
    }

    fn ambiguous(&mut self, value: usize) {
        self.0.visited_roots += 1;
        self.0.visit_ambiguous(value);
    }
}
