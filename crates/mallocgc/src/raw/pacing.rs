//! When a cycle beside the mutators begins, and what mutators do for it.
//!
//! The arithmetic is the pacer's (`collect::pacer`); here are the counts it
//! wants and the copies of its answers that mutators read. A mutator owes
//! marking for the spans it takes while marking runs. The collector thread's
//! marking is credit, which pays first; who finds none marks itself, if the
//! marker is free, for [`ASSIST_MOST_BYTES`] at most, and else waits for credit,
//! [`CREDIT_WAIT_NANOS`] at most.
//!
//! The thread keeps to its quarter of the processors' time, as long as there
//! are mutators for the rest, none of them is in debt, and nobody waits for the
//! cycle's end.
//!
//! Protection: the controller is behind its lock; copies and counts are atomic,
//! and any recent value of them will do.

use crate::base::sync::{AtomicU64, Lock, Ordering::Relaxed, Rank};
use crate::collect::cycle::CycleReport;
use crate::collect::pacer::PacerSettings;
use crate::collect::pacer::assist::AssistRatio;
use crate::collect::pacer::controller::{Controller, CycleEnd, CycleStart, Progress};
use crate::collect::pacer::goal::{MemoryUse, ScanWork, Settings};
use crate::collect::pacer::workers::{BACKGROUND_PARTS, Reason, Workers};
use crate::observe::Histogram;
use crate::os;
use crate::raw::heap::{Inner, SafeSection};
use crate::raw::mutator::Mutator;
use crate::world::callback;
use std::time::Duration;

/// Bytes that one assist scans at most: some 200 microseconds where every object
/// is a cache miss.
const ASSIST_MOST_BYTES: u64 = 128 << 10;

/// Spans that an allocation sweeps ahead at most: some 20 microseconds.
const SWEEP_MOST_SPANS: u64 = 64;

/// How long a mutator in debt waits for credit, while somebody else marks.
const CREDIT_WAIT_NANOS: u64 = 300_000;

/// Between two looks for it.
const CREDIT_LOOK: Duration = Duration::from_micros(20);

/// How long the collector thread rests when it has had its share.
const REST: Duration = Duration::from_micros(500);

/// Percent of the goal from which on mutators help at every boundary: their
/// assists should have kept the heap far below.
const LATE_PERCENT: u64 = 120;

/// What pacing keeps of a heap.
#[derive(Debug)]
pub(crate) struct Pacing {
    controller: Lock<Controller>,
    /// The assist ratio: work for bytes.
    work_left: AtomicU64,
    bytes_left: AtomicU64,
    /// Bytes scanned in this cycle that no mutator has taken as paid.
    credit: AtomicU64,
    /// Bytes scanned in this cycle, and in the last.
    scanned: AtomicU64,
    last_scanned: AtomicU64,
    /// When the open cycle began.
    begun_nanos: AtomicU64,
    /// Processor time of assists in this cycle.
    assist_nanos: AtomicU64,
    /// When a mutator was last in debt.
    debt_nanos: AtomicU64,
    /// Share of the processors that marking had in the last cycle, in millionths.
    utilization_ppm: AtomicU64,
    /// How long assists took, each.
    pub(crate) assists: Histogram,
}

impl Pacing {
    pub(crate) fn new(pacer: PacerSettings) -> Pacing {
        let settings = Settings { pacer, memory_limit_bytes: u64::MAX };
        Pacing {
            controller: Lock::new(Rank::Observe, Controller::new(settings)),
            work_left: AtomicU64::new(0),
            bytes_left: AtomicU64::new(0),
            credit: AtomicU64::new(0),
            scanned: AtomicU64::new(0),
            last_scanned: AtomicU64::new(0),
            begun_nanos: AtomicU64::new(0),
            assist_nanos: AtomicU64::new(0),
            debt_nanos: AtomicU64::new(0),
            utilization_ppm: AtomicU64::new(0),
            assists: Histogram::new(),
        }
    }

    /// Counts what was scanned beside the mutators. `paid` is by whoever did it
    /// on his own account.
    pub(crate) fn count_scanned(&self, bytes: u64, paid: Paid) {
        self.scanned.fetch_add(bytes, Relaxed);
        if paid == Paid::No {
            self.credit.fetch_add(bytes, Relaxed);
        }
    }

    /// Takes up to `bytes` of credit; what is still owed.
    fn take_credit(&self, bytes: u64) -> u64 {
        let mut credit = self.credit.load(Relaxed);
        loop {
            let taken = credit.min(bytes);
            if taken == 0 {
                return bytes;
            }
            // Relaxed: a number.
            match self.credit.compare_exchange_weak(credit, credit - taken, Relaxed, Relaxed) {
                Ok(_) => return bytes - taken,
                Err(now) => credit = now,
            }
        }
    }
}

/// Whether scan work pays a debt already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Paid {
    Yes,
    No,
}

impl Inner {
    fn cycle_start(&self, begun_nanos: u64, live_bytes: u64) -> CycleStart {
        CycleStart {
            now_nanos: begun_nanos,
            processors: os::processors() as u32,
            reason: Reason::Demand,
            live_bytes,
            external_bytes: self.space.limits.external_bytes() as u64,
            most_work: ScanWork { heap_bytes: live_bytes, ..ScanWork::default() },
        }
    }

    /// A cycle has begun beside the mutators.
    pub(crate) fn begin_pacing(&self) {
        let pacing = &self.pacing;
        let now = os::now_nanos();
        let live_bytes = self.space.live_bytes.load(Relaxed);
        for count in [&pacing.credit, &pacing.scanned, &pacing.assist_nanos] {
            count.store(0, Relaxed);
        }
        pacing.begun_nanos.store(now, Relaxed);
        pacing.controller.lock().begin_cycle(&self.cycle_start(now, live_bytes));
        self.revise_goal(self.heap_bytes());
    }

    /// The open cycle's goal, by the settings of this moment: when the cycle is
    /// late, and what assists cost. `begin_bytes` had the heap when it began, or less.
    fn revise_goal(&self, begin_bytes: u64) {
        let (settings, memory) = self.pacing_settings();
        let goal_bytes = {
            let mut controller = self.pacing.controller.lock();
            controller.set_settings(settings);
            controller.pace(&memory).goal_bytes
        };
        let late = u128::from(goal_bytes.max(begin_bytes)) * u128::from(LATE_PERCENT) / 100;
        let late = u64::try_from(late).unwrap_or(u64::MAX);
        self.space.trigger_bytes.store(late, Relaxed);
        self.revise_pacing();
    }

    /// A setting has changed while a cycle is open.
    pub(crate) fn settings_changed_beside(&self) {
        self.revise_goal(self.history.lasting_bytes());
        if !self.space.is_marking() {
            // It has just ended, and its trigger was overwritten.
            self.pace_again();
        }
    }

    /// What assists cost from now on.
    pub(crate) fn revise_pacing(&self) {
        let pacing = &self.pacing;
        let work = ScanWork { heap_bytes: pacing.scanned.load(Relaxed), ..ScanWork::default() };
        let live_bytes = self.space.live_bytes.load(Relaxed);
        let (settings, memory) = self.pacing_settings();
        let progress = Progress { live_bytes, work, memory };
        let ratio = {
            let mut controller = pacing.controller.lock();
            // Who changes a setting may be a moment late for the cycle's end.
            if !controller.is_in_cycle() {
                return;
            }
            controller.set_settings(settings);
            controller.revise(&progress)
        };
        pacing.work_left.store(ratio.work_bytes(), Relaxed);
        pacing.bytes_left.store(ratio.runway_bytes(), Relaxed);
    }

    /// Settings and use of memory as the controller wants them.
    fn pacing_settings(&self) -> (Settings, MemoryUse) {
        let pacer = *self.pacer.lock();
        match self.space.limits.memory_bytes() {
            // The limit is all that asks for the others.
            usize::MAX => {
                (Settings { pacer, memory_limit_bytes: u64::MAX }, self.external_memory())
            }
            bytes => (Settings { pacer, memory_limit_bytes: bytes as u64 }, self.memory_use()),
        }
    }

    /// A cycle has ended: the controller learns from it.
    pub(crate) fn finish_pacing(&self, report: &CycleReport) {
        if self.config.concurrent_from_bytes == usize::MAX {
            return;
        }
        let pacing = &self.pacing;
        let external = self.space.limits.external_bytes() as u64;
        let beside = report.is_beside();
        let scanned = match beside {
            true => pacing.scanned.load(Relaxed),
            // Not counted: as much as the last time.
            false => pacing.last_scanned.load(Relaxed),
        };
        pacing.last_scanned.store(scanned, Relaxed);
        {
            let mut controller = pacing.controller.lock();
            if !beside {
                controller.begin_cycle(&self.cycle_start(report.end_nanos, report.heap_end_bytes));
            }
            controller.finish_cycle(&CycleEnd {
                now_nanos: report.end_nanos,
                live_bytes: report.heap_end_bytes,
                external_bytes: external,
                marked_bytes: report.lasting_bytes,
                marked_external_bytes: external,
                work: ScanWork { heap_bytes: scanned, ..ScanWork::default() },
                assist_nanos: pacing.assist_nanos.load(Relaxed),
                idle_nanos: 0,
            });
            controller.finish_sweep();
        }
        if beside {
            let time = (report.end_nanos - report.begin_nanos).max(1) * os::processors() as u64;
            let used = report.mark_cpu_nanos.min(time) as f64 / time as f64;
            pacing.utilization_ppm.store((used * 1e6) as u64, Relaxed);
        }
    }

    /// A trigger, led by the runway of marking beside the mutators. Small heaps are
    /// marked in a stop: nothing is allocated meanwhile.
    pub(crate) fn led(&self, trigger_bytes: u64) -> u64 {
        let from = self.config.concurrent_from_bytes as u64;
        if from > trigger_bytes || trigger_bytes == u64::MAX {
            return trigger_bytes;
        }
        let (settings, memory) = self.pacing_settings();
        let mut controller = self.pacing.controller.lock();
        controller.set_settings(settings);
        let led = controller.pace(&memory).trigger_bytes;
        if led >= from { trigger_bytes.min(led) } else { trigger_bytes }
    }

    fn external_memory(&self) -> MemoryUse {
        let external_bytes = self.space.limits.external_bytes() as u64;
        MemoryUse { external_bytes, ..MemoryUse::default() }
    }

    /// Whether the collector thread has had its share of the time.
    pub(crate) fn should_rest(&self, worked_nanos: u64) -> bool {
        // Relaxed throughout: hints.
        if self.collector_thread.waiting.load(Relaxed) != 0 || self.pacing.is_in_debt() {
            return false;
        }
        let processors = os::processors();
        if self.world.attached() < processors {
            // One is idle.
            return false;
        }
        let workers = Workers::new(processors as u32, Reason::Demand);
        let elapsed = os::now_nanos().saturating_sub(self.pacing.begun_nanos.load(Relaxed));
        workers.dedicated == 0 && workers.fractional_worker_is_done(worked_nanos / 2, elapsed)
    }

    /// Leaves the processor to the mutators for a while.
    pub(crate) fn rest(&self) {
        std::thread::sleep(REST);
    }
}

impl Pacing {
    /// Processor time of marking by a thread that had a processor which was idle: beyond its
    /// quarter.
    pub(crate) fn idle_nanos(&self, report: &CycleReport) -> u64 {
        let elapsed = report.end_nanos.saturating_sub(self.begun_nanos.load(Relaxed));
        let quarter = elapsed * os::processors() as u64 / BACKGROUND_PARTS;
        report.mark_cpu_nanos.saturating_sub(self.assist_nanos()).saturating_sub(quarter)
    }

    /// Processor time of assists in this cycle, or in the last.
    pub(crate) fn assist_nanos(&self) -> u64 {
        self.assist_nanos.load(Relaxed)
    }

    /// Share of the processors that marking had in the last cycle, 0 to 1.
    pub(crate) fn utilization(&self) -> f64 {
        self.utilization_ppm.load(Relaxed) as f64 / 1e6
    }

    /// Whether a mutator was in debt a moment ago.
    fn is_in_debt(&self) -> bool {
        const MOMENT_NANOS: u64 = 1_000_000;
        let debt = self.debt_nanos.load(Relaxed);
        debt != 0 && os::now_nanos().saturating_sub(debt) < MOMENT_NANOS
    }
}

impl Mutator {
    /// A cycle is announced: if one runs already it is late, and this mutator
    /// helps for a moment, or leaves the processor to who marks. Whether one
    /// runs. At a boundary.
    #[cold]
    pub(crate) fn help_if_late(&self) -> bool {
        let inner = self.inner();
        if !inner.space.is_marking() || inner.cycle.try_lock().is_some() {
            return false;
        }
        if !inner.is_due() {
            inner.world.withdraw_cycle();
            return true;
        }
        let begin = os::now_nanos();
        inner.pacing.debt_nanos.store(begin, Relaxed);
        let done = inner.concurrent.try_mark(&inner.collector, inner.parts(), ASSIST_MOST_BYTES);
        match done {
            Some(done) if done.scanned_bytes != 0 => {
                inner.pacing.count_scanned(done.scanned_bytes, Paid::Yes);
                let nanos = os::now_nanos() - begin;
                inner.concurrent.add_cpu(nanos);
                inner.add_assist(nanos);
            }
            _ => {
                let _safe = SafeSection::begin(inner, self.record());
                std::thread::sleep(REST);
            }
        }
        inner.pacing.assists.record(os::now_nanos() - begin);
        true
    }

    /// Sweeps a part of what the last cycle left for the spans this mutator took, so that
    /// it is done when the next one begins: that would have to do it first, and mutators
    /// would allocate meanwhile. On the first three quarters of the way sweeping is left to
    /// allocation and the background, which is cheaper. Where cycles stop the world nobody
    /// sweeps ahead.
    #[cold]
    pub(crate) fn sweep_ahead(&self) {
        let inner = self.inner();
        // Relaxed throughout: a rate.
        let trigger = inner.space.trigger_bytes.load(Relaxed);
        let way = trigger.saturating_sub(inner.heap_bytes());
        if trigger == u64::MAX
            || trigger < inner.config.concurrent_from_bytes as u64
            || way > trigger.saturating_sub(inner.history.live_bytes()) / 4
            || callback::is_inside()
        {
            return;
        }
        let granted = self.record().cache.take_granted();
        let way = way.max(granted).max(1);
        let unswept = inner.space.unswept_spans.load(Relaxed) as u64;
        let spans = (unswept * granted).div_ceil(way).min(SWEEP_MOST_SPANS);
        inner.space.reclaim(usize::MAX, spans as usize);
    }

    /// Pays for the spans this mutator took while marking runs: with credit, or by
    /// marking. Not a boundary.
    #[cold]
    pub(crate) fn assist(&self) {
        let inner = self.inner();
        let pacing = &inner.pacing;
        let granted = self.record().cache.take_granted();
        if granted == 0 || callback::is_inside() {
            return;
        }
        let ratio =
            AssistRatio::new(pacing.work_left.load(Relaxed), pacing.bytes_left.load(Relaxed));
        let owed = pacing.take_credit(ratio.work_for(granted));
        if owed == 0 {
            return;
        }
        let begin = os::now_nanos();
        if !inner.may_assist(begin) {
            return;
        }
        pacing.debt_nanos.store(begin, Relaxed);
        let budget = ratio.assist_work(granted).min(ASSIST_MOST_BYTES);
        if let Some(done) = inner.concurrent.try_mark(&inner.collector, inner.parts(), budget) {
            pacing.count_scanned(done.scanned_bytes.min(owed), Paid::Yes);
            pacing.count_scanned(done.scanned_bytes.saturating_sub(owed), Paid::No);
            let nanos = os::now_nanos() - begin;
            inner.concurrent.add_cpu(nanos);
            inner.add_assist(nanos);
            pacing.assist_nanos.fetch_add(nanos, Relaxed);
            inner.revise_pacing();
        } else {
            // Somebody marks: what that brings is waited for, a little.
            let mut owed = owed;
            while owed != 0 && os::now_nanos() - begin < CREDIT_WAIT_NANOS {
                std::thread::sleep(CREDIT_LOOK);
                owed = pacing.take_credit(owed);
            }
        }
        pacing.assists.record(os::now_nanos() - begin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::mark::PIECE_BYTES;
    use crate::raw::{AllocFlags, Config, Force, Heap, Layout, Step, TypeLayout};
    use core::ptr::NonNull;
    use std::sync::mpsc;

    const MIB: usize = 1 << 20;

    /// A heap in steps, of a list of so many bytes behind a root.
    fn listed(mutator: &Mutator, layout: Layout, bytes: usize) {
        let mut first = core::ptr::null_mut::<u8>();
        for _ in 0..bytes / 32 {
            let object = mutator.new_object(layout).unwrap();
            // SAFETY: the first word of a new object.
            unsafe { mutator.write(object.as_ptr().cast(), first) };
            first = object.as_ptr();
        }
        mutator.push_root(NonNull::new(first).unwrap());
    }

    fn stepped() -> (Heap, Layout) {
        let config = Config { background: false, concurrent_from_bytes: 0, ..Config::default() };
        let heap = Heap::new(config).unwrap();
        let layout = heap.layout(&TypeLayout::mask(4, 0b1)).unwrap();
        (heap, layout)
    }

    /// Work for a mebibyte.
    fn price(heap: &Heap) -> u64 {
        let pacing = &heap.inner().pacing;
        AssistRatio::new(pacing.work_left.load(Relaxed), pacing.bytes_left.load(Relaxed))
            .work_for(MIB as u64)
    }

    #[test]
    fn settings_count_from_the_moment_they_change() {
        let (heap, layout) = stepped();
        let mutator = heap.attach().unwrap();
        listed(&mutator, layout, 8 * MIB);
        mutator.gc(Force::NowAndSweep).unwrap();
        assert_eq!(mutator.step(Force::Now, 1), Ok(Step::Marking));
        let late = || heap.inner().space.trigger_bytes.load(Relaxed);
        let (before, late_before) = (price(&heap), late());
        heap.set_gc_percent(Some(20));
        let (less, late_less) = (price(&heap), late());
        assert!(less > 2 * before && late_less < late_before, "{less} after {before}");
        heap.set_gc_percent(Some(100));
        assert_eq!((price(&heap), late()), (before, late_before));
        heap.set_memory_limit_bytes(heap.stats().mapped_bytes as usize + MIB);
        let limited = price(&heap);
        assert!(limited > 2 * before && late() < late_before, "{limited} after {before}");
        heap.set_memory_limit_bytes(usize::MAX);
        assert_eq!((price(&heap), late()), (before, late_before));
        while mutator.step(Force::Now, MIB).unwrap() != Step::Finished {}
        // And what it was in the cycle is not what counts afterwards.
        assert!(late() <= heap.pace().goal_bytes);
    }

    /// Bytes that the marker scans when a budget is used up: it ends what it has begun.
    const MORE_BYTES: u64 = PIECE_BYTES as u64;

    #[test]
    fn an_allocation_assists_for_so_many_bytes_at_most() {
        let (heap, layout) = stepped();
        let mutator = heap.attach().unwrap();
        listed(&mutator, layout, 24 * MIB);
        mutator.gc(Force::NowAndSweep).unwrap();
        assert_eq!(mutator.step(Force::Now, 1), Ok(Step::Marking));
        // Nobody else marks, and the goal is near.
        heap.set_gc_percent(Some(1));
        let scanned = || heap.inner().pacing.scanned.load(Relaxed);
        let (mut most, mut assists) = (0, 0);
        for number in 0..400_000usize {
            let before = scanned();
            let bytes = if number.is_multiple_of(1000) { 256 << 10 } else { 32 };
            mutator.mallocgc(bytes, Layout::NOSCAN, AllocFlags::NO_TINY).unwrap();
            let work = scanned() - before;
            most = most.max(work);
            assists += usize::from(work != 0);
        }
        assert!(assists > 100, "{assists} assists");
        assert!(most <= ASSIST_MOST_BYTES + MORE_BYTES, "{most} bytes at once");
        let total = scanned();
        assert!(total >= 20 * MIB as u64, "assists have marked {total} bytes");
    }

    #[test]
    fn mutators_that_allocate_alike_assist_alike() {
        let (heap, layout) = stepped();
        let mut mutator = heap.attach().unwrap();
        listed(&mutator, layout, 24 * MIB);
        mutator.gc(Force::NowAndSweep).unwrap();
        const THREADS: usize = 3;
        const TURNS: usize = 300;
        // Begun by a mutator that then allocates nothing.
        assert_eq!(mutator.step(Force::Now, 1), Ok(Step::Marking));
        heap.set_gc_percent(Some(20));
        let (done, turns) = mpsc::channel();
        let work = mutator.blocking(|| {
            std::thread::scope(|scope| {
                let senders: Vec<mpsc::Sender<()>> = (0..THREADS)
                    .map(|number| {
                        let (sender, turn) = mpsc::channel();
                        let (heap, done) = (&heap, done.clone());
                        scope.spawn(move || {
                            let mutator = heap.attach().unwrap();
                            for () in turn {
                                let before = heap.inner().pacing.scanned.load(Relaxed);
                                for _ in 0..500 {
                                    mutator.new_object(layout).unwrap();
                                }
                                let after = heap.inner().pacing.scanned.load(Relaxed);
                                done.send((number, after - before)).unwrap();
                            }
                        });
                        sender
                    })
                    .collect();
                let mut work = [0; THREADS];
                for turn in 0..THREADS * TURNS {
                    senders[turn % THREADS].send(()).unwrap();
                    let (number, scanned) = turns.recv().unwrap();
                    work[number] += scanned;
                }
                work
            })
        });
        let (least, most) = (*work.iter().min().unwrap(), *work.iter().max().unwrap());
        assert!(least > 0 && most < 2 * least, "{work:?}");
    }
}
