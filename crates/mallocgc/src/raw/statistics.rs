//! What a heap has done: statistics, the trace, the history of pauses.
//!
//! Statistics stop nobody. Counters that mutators keep are read while they
//! run, so beside running mutators the fields are from slightly different
//! moments; of a heap at rest they are exact.

use crate::base::PAGE_SIZE;
use crate::base::size_class::{SIZE_CLASSES, SizeClass};
use crate::base::sync::{AtomicU64, Lock, Ordering, Rank};
use crate::collect::cycle::CycleReport;
use crate::heap::meta::MetaStat;
use crate::heap::release::bitmap_bytes;
use crate::observe::{
    BesideRecord, CycleRecord, Event, Histogram, HistogramSnapshot, MemStats, Pause, PauseRing,
    SpanStatistics,
};
use crate::os;
use crate::raw::heap::{Heap, Inner};
use crate::raw::limits::CycleLimits;
use Ordering::{Acquire, Relaxed};

/// What happened to the heap so far.
#[derive(Debug)]
pub(crate) struct History {
    /// When the heap was made, and the process's processor time then.
    made_nanos: u64,
    made_cpu_nanos: u64,
    pauses: Lock<PauseRing>,
    /// How long mutators stood, per cycle.
    stopped: Histogram,
    /// How long stopping them took, per cycle.
    time_to_stop: Histogram,
    /// How long mutators were kept from running, each time.
    blocked: Histogram,
    gc_cpu_nanos: AtomicU64,
    live_bytes: AtomicU64,
    lasting_bytes: AtomicU64,
    last_mark_nanos: AtomicU64,
    pub(crate) lookups: AtomicU64,
}

impl History {
    pub(crate) fn new() -> History {
        History {
            made_nanos: os::now_nanos(),
            made_cpu_nanos: os::process_cpu_nanos(),
            pauses: Lock::new(Rank::Observe, PauseRing::default()),
            stopped: Histogram::new(),
            time_to_stop: Histogram::new(),
            blocked: Histogram::new(),
            gc_cpu_nanos: AtomicU64::new(0),
            live_bytes: AtomicU64::new(0),
            lasting_bytes: AtomicU64::new(0),
            last_mark_nanos: AtomicU64::new(0),
            lookups: AtomicU64::new(0),
        }
    }

    /// A mutator waited for a stopped world to go on.
    pub(crate) fn note_blocked(&self, nanos: u64) {
        if nanos != 0 {
            self.blocked.record(nanos);
        }
    }

    /// Bytes that survived the last cycle.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Relaxed)
    }

    /// What of these the goal counts.
    pub(crate) fn lasting_bytes(&self) -> u64 {
        self.lasting_bytes.load(Relaxed)
    }

    pub(crate) fn set_live_bytes(&self, report: &CycleReport) {
        self.live_bytes.store(report.live_bytes, Relaxed);
        self.lasting_bytes.store(report.lasting_bytes, Relaxed);
    }

    /// Processor time of the last cycle's marking.
    pub(crate) fn last_mark_nanos(&self) -> u64 {
        self.last_mark_nanos.load(Relaxed)
    }

    fn cpu_fraction(&self) -> f64 {
        let spent = os::process_cpu_nanos().saturating_sub(self.made_cpu_nanos);
        let collecting = self.gc_cpu_nanos.load(Relaxed);
        if spent == 0 { 0.0 } else { (collecting as f64 / spent as f64).min(1.0) }
    }
}

/// What runs beside a reading of the counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beside {
    /// Mutators, perhaps: a smaller side that was read too high is cut down to
    /// the larger one.
    Mutators,
    /// Nothing that allocates or sweeps: numbers are given as they were counted,
    /// so that a wrong one is seen.
    Nothing,
}

impl Beside {
    /// The larger side of a relation, not below the smaller.
    fn at_least(self, larger: u64, smaller: u64) -> u64 {
        match self {
            Beside::Mutators => larger.max(smaller),
            Beside::Nothing => larger,
        }
    }

    /// The smaller side of a relation, not above the larger.
    fn at_most(self, smaller: u64, larger: u64) -> u64 {
        match self {
            Beside::Mutators => smaller.min(larger),
            Beside::Nothing => smaller,
        }
    }
}

impl Inner {
    /// Takes note of a cycle and prints its line.
    pub(crate) fn record_cycle(&self, report: &CycleReport, limits: &CycleLimits, forced: bool) {
        let history = &self.history;
        history.gc_cpu_nanos.fetch_add(report.mark_cpu_nanos, Relaxed);
        history.last_mark_nanos.store(report.mark_cpu_nanos, Relaxed);
        history.stopped.record(report.pause_nanos);
        history.time_to_stop.record(report.stop_nanos);
        if report.is_beside() {
            history.stopped.record(report.flip_pause_nanos);
            history.time_to_stop.record(report.end_stop_nanos);
        }
        let pause = Pause { nanos: report.pause_nanos, end_nanos: os::wall_clock_nanos() };
        history.pauses.lock().record(pause);
        if self.config.trace_level == 0 && !self.events.is_on() {
            return;
        }
        let record = CycleRecord {
            number: report.number,
            forced,
            start_nanos: report.begin_nanos.saturating_sub(history.made_nanos),
            finish_sweep_nanos: report.finish_sweep_nanos,
            time_to_stop_nanos: report.stop_nanos,
            mark_nanos: report.roots_nanos + report.mark_nanos,
            finalize_nanos: report.decide_nanos,
            stopped_nanos: report.pause_nanos + report.flip_pause_nanos,
            beside: report.is_beside().then(|| self.beside_record(report)),
            eager_sweep_nanos: 0,
            mark_cpu_nanos: report.mark_cpu_nanos,
            gc_cpu_fraction: history.cpu_fraction(),
            workers: report.workers as u32,
            mutators: report.mutators as u32,
            heap_start_bytes: report.heap_start_bytes,
            heap_end_bytes: report.heap_end_bytes,
            live_bytes: report.live_bytes,
            trigger_bytes: report.trigger_bytes,
            goal_bytes: report.trigger_bytes,
            next_goal_bytes: report.goal_bytes,
            spans_bytes: report.heap_inuse_bytes,
            root_bytes: report.roots * 8,
            marked_objects: report.live_objects,
            spans: report.spans,
            finalizers_queued: report.decided.finalizers_queued,
            cleanups_queued: report.decided.cleanups_queued,
            weak_cleared: report.decided.weak_cleared,
            external_bytes: limits.external_bytes,
            memory_limit_bytes: limits.memory_limit_bytes,
            held_nanos: limits.held_nanos,
            scavenged_bytes: limits.scavenged_bytes,
        };
        self.events.send(&Event::CycleEnd(&record));
        if self.config.trace_level > 0 {
            self.log(format_args!("{}", record.trace_line()));
        }
        if self.config.trace_level > 1 {
            let spans = self.span_statistics();
            self.log_lines(|out| spans.write_trace(report.number, out));
        }
    }

    fn beside_record(&self, report: &CycleReport) -> BesideRecord {
        BesideRecord {
            flip_nanos: report.flip_pause_nanos,
            end_nanos: report.pause_nanos,
            rounds: report.rounds,
            assist_nanos: self.pacing.assist_nanos(),
            utilization: self.pacing.utilization(),
        }
    }

    /// Spans and cells by size class, counted over all spans.
    pub(crate) fn span_statistics(&self) -> SpanStatistics {
        let mut statistics = SpanStatistics::default();
        let space = &self.space;
        for number in 0..space.class_count() {
            let class = crate::heap::span_class::SpanClassId::new(number as u16);
            let info = space.class_info(class);
            let sum = &mut statistics.classes[info.size.index()];
            sum.cell_bytes = info.size.cell_size() as u64;
            space.central(class).for_each(space, |_, span| {
                sum.spans += 1;
                sum.span_bytes += (span.pages() * crate::base::PAGE_SIZE) as u64;
                sum.cells += span.cells() as u64;
                let bits = space.survivor_bits(span);
                let live: u32 = bits.iter().map(|word| word.load(Relaxed).count_ones()).sum();
                sum.live_cells += u64::from(live);
                sum.unswept_spans += u64::from(space.is_unswept(span));
            });
        }
        statistics
    }

    /// The statistics of this moment.
    pub(crate) fn stats(&self) -> MemStats {
        self.read_stats(Beside::Mutators)
    }

    fn read_stats(&self, beside: Beside) -> MemStats {
        let space = &self.space;
        // Nothing stands still, so the smaller side of each relation is read
        // first: what was found alive or freed had been allocated before.
        let live_bytes = self.history.live_bytes();
        let mut stats = MemStats::default();
        for (entry, freed) in stats.by_size.0.iter_mut().zip(&space.freed) {
            // Acquire, here and below: pairs with the Releases of the sweep,
            // which saw the cells being taken.
            entry.frees = freed.load(Acquire);
        }
        stats.large_freed = space.freed_large_bytes.load(Acquire);
        let counts = self.world.counts(space);
        for index in 0..SIZE_CLASSES {
            let size = SizeClass::new(index as u8).cell_size() as u64;
            let entry = &mut stats.by_size[index];
            entry.size = size;
            // Of a chunk in the making the count may lack some cells; it is
            // never really below what was freed earlier.
            entry.mallocs = beside.at_least(counts.cells[index], entry.frees);
            stats.mallocs += entry.mallocs;
            stats.frees += entry.frees;
            stats.total_alloc += entry.mallocs * size;
            stats.total_freed += entry.frees * size;
        }
        stats.large_alloc = beside.at_least(counts.large_bytes, stats.large_freed);
        stats.total_alloc += stats.large_alloc;
        stats.total_freed += stats.large_freed;
        // A reference that points into a free cell marks it: what is marked may
        // be more than what was ever allocated.
        stats.live_bytes = live_bytes.min(stats.total_alloc);
        // Wrapping: `MemStats::check` reports what a wrong count leads to.
        stats.heap_alloc = stats.total_alloc.wrapping_sub(stats.total_freed);
        stats.alloc = stats.heap_alloc;
        stats.heap_objects = stats.mallocs.wrapping_sub(stats.frees);
        stats.tiny_allocs = counts.tiny_hits;
        stats.mallocs += counts.tiny_hits;
        stats.frees += counts.tiny_hits;
        stats.lookups = self.history.lookups.load(Relaxed);
        stats.profile_samples = self.profile.samples();
        stats.profile_overflows = beside.at_most(self.profile.overflows(), stats.profile_samples);
        let specials = space.specials.counts();
        stats.finalizers_queued = specials.finalizers.queued;
        stats.finalizers_executed = specials.finalizers.executed;
        stats.finalizers_panicked = specials.finalizers.panicked;
        stats.cleanups_queued = specials.cleanups.queued;
        stats.cleanups_executed = specials.cleanups.executed;
        stats.cleanups_panicked = specials.cleanups.panicked;
        stats.weak_handles = specials.weak_made - specials.weak_cleared;
        stats.weak_cleared = specials.weak_cleared;
        self.memory_stats(beside, &mut stats);
        self.cycle_stats(beside, &mut stats);
        stats
    }

    fn memory_stats(&self, beside: Beside, stats: &mut MemStats) {
        let space = &self.space;
        let meta = space.meta();
        // What is in use before what it is a part of, which only grows.
        let spans = space.span_count.load(Relaxed);
        stats.heap_inuse = space.used_bytes() as u64;
        let tables = space.table_bytes();
        stats.heap_sys = beside.at_least(space.committed_bytes() as u64, stats.heap_inuse);
        stats.heap_idle = stats.heap_sys.wrapping_sub(stats.heap_inuse);
        stats.heap_released = beside.at_most(space.released_bytes(), stats.heap_idle);
        stats.span_sys = tables.spans as u64 + meta.bytes(MetaStat::Spans);
        stats.span_inuse = beside.at_most((spans * tables.span_record) as u64, stats.span_sys);
        stats.cache_sys = meta.bytes(MetaStat::Caches);
        stats.cache_inuse = stats.cache_sys;
        stats.bucket_hash_sys = meta.bytes(MetaStat::Profile) + self.profile.bytes() as u64;
        stats.gc_sys = tables.bitmaps as u64
            + meta.bytes(MetaStat::Marking)
            + meta.bytes(MetaStat::Specials)
            + space.specials.records.committed_bytes() as u64
            + meta.bytes(MetaStat::Layouts);
        stats.other_sys = tables.pages as u64 + meta.bytes(MetaStat::Other);
        stats.sys = stats.heap_sys
            + stats.span_sys
            + stats.cache_sys
            + stats.bucket_hash_sys
            + stats.gc_sys
            + stats.other_sys;
    }

    fn cycle_stats(&self, beside: Beside, stats: &mut MemStats) {
        let history = &self.history;
        let pauses = *history.pauses.lock();
        let pacer = *self.pacer.lock();
        let trigger = self.space.trigger_bytes.load(Relaxed);
        stats.next_gc = trigger;
        stats.trigger = trigger;
        stats.last_gc = pauses.newest().map_or(0, |pause| pause.end_nanos);
        stats.pause_total_nanos = pauses.total_nanos();
        stats.num_gc = pauses.count();
        stats.num_forced_gc = beside.at_most(self.forced_cycles.load(Relaxed), stats.num_gc);
        stats.pauses = pauses;
        stats.gc_cpu_fraction = history.cpu_fraction();
        stats.gc_cpu_nanos = history.gc_cpu_nanos.load(Relaxed);
        stats.enable_gc = pacer.gc_percent.is_some();
        stats.debug_gc = self.config.verify || self.config.clobber != 0;
        self.limit_stats(stats);
        stats.mutators = self.world.attached() as u64;
    }

    fn limit_stats(&self, stats: &mut MemStats) {
        let limits = &self.space.limits;
        stats.heap_limit = limits.heap_bytes() as u64;
        stats.memory_limit = limits.memory_bytes() as u64;
        stats.external_bytes = limits.external_bytes() as u64;
        stats.limit_errors = limits.refused();
        stats.scavenged_bytes = limits.scavenged_bytes();
        stats.scavenge_cpu_nanos = self.limiting.scavenge_nanos.load(Relaxed);
        let held = self.limiting.held();
        stats.limiter_held_cycles = held.cycles;
        stats.limiter_held_nanos = held.nanos;
        stats.limiter_last_cycle = held.last_cycle;
        stats.limiter_fill_nanos = held.fill_nanos;
        (stats.pressure_calls, stats.pressure_panicked) = self.pressure.counts();
        let clean = bitmap_bytes(stats.heap_released as usize / PAGE_SIZE) as u64;
        stats.mapped_bytes = stats.sys - stats.heap_released - clean.min(stats.gc_sys);
    }
}

impl Heap {
    /// The statistics of this moment. Stops nobody; exact when every mutator
    /// is at a boundary. Beside running mutators objects count as allocated a
    /// little later than as freed, so that `heap_alloc` is rather too high.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Heap, Layout};
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let before = heap.stats();
    /// mutator.mallocgc(100, Layout::NOSCAN, AllocFlags::NONE)?;
    /// let after = heap.stats();
    /// assert_eq!(after.mallocs - before.mallocs, 1);
    /// assert_eq!(after.total_alloc - before.total_alloc, 112);
    /// after.check()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> MemStats {
        self.inner().stats()
    }

    /// The statistics of a heap at rest: every mutator is at a boundary, and no
    /// other thread allocates or sweeps. [`stats`](Heap::stats) evens out what
    /// running mutators make uneven; here numbers are as they were counted, and
    /// [`MemStats::check`] reports a wrong one.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap};
    /// let heap = Heap::new(Config { background: false, ..Config::default() })?;
    /// heap.stats_at_rest().check()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats_at_rest(&self) -> MemStats {
        self.inner().read_stats(Beside::Nothing)
    }

    /// How long mutators stood in each cycle, stopping included; nanoseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Force, Heap};
    /// let heap = Heap::new(Config::default())?;
    /// for _ in 0..10 {
    ///     heap.gc(Force::Now)?;
    /// }
    /// let pauses = heap.pause_histogram();
    /// assert_eq!(pauses.count(), 10);
    /// assert!(pauses.quantile(0.5) <= pauses.max());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause_histogram(&self) -> HistogramSnapshot {
        self.inner().history.stopped.snapshot()
    }

    /// How long stopping the mutators took in each cycle; nanoseconds.
    pub fn time_to_stop_histogram(&self) -> HistogramSnapshot {
        self.inner().history.time_to_stop.snapshot()
    }

    /// How long mutators were kept from running by the collector, each time one
    /// of them waited for the world to go on; nanoseconds.
    pub fn blocking_histogram(&self) -> HistogramSnapshot {
        self.inner().history.blocked.snapshot()
    }

    /// How long mutators marked for what they allocated, each time;
    /// nanoseconds.
    pub fn assist_histogram(&self) -> HistogramSnapshot {
        self.inner().pacing.assists.snapshot()
    }

    /// Share of the processors that marking had in the last cycle beside the
    /// mutators, assists included, 0 to 1.
    pub fn marking_utilization(&self) -> f64 {
        self.inner().pacing.utilization()
    }

    /// Spans and cells by size class: all swept or unswept spans that no
    /// mutator holds.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap};
    /// let heap = Heap::new(Config::default())?;
    /// println!("{:?}", heap.span_statistics().total());
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn span_statistics(&self) -> SpanStatistics {
        self.inner().span_statistics()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Invariant;
    use crate::raw::{AllocFlags, Config, Force, Layout};

    /// The first invariant that a wrong count of freed things breaks, in a reading
    /// at rest and in one beside mutators.
    fn broken_by(miscount: impl Fn(&Inner)) -> [Option<Invariant>; 2] {
        let heap = Heap::new(Config { background: false, ..Config::default() }).expect("a heap");
        let mutator = heap.attach().expect("a mutator");
        for size in [8, 64, 64, 1 << 20] {
            let object = mutator.mallocgc(size, Layout::NOSCAN, AllocFlags::NO_TINY);
            if size != 64 {
                // So that the sums over all sizes stay right.
                mutator.push_root(object.expect("memory"));
            }
        }
        mutator.gc(Force::NowAndSweep).expect("a collection");
        heap.stats_at_rest().check().expect("right counts");
        miscount(heap.inner());
        [heap.stats_at_rest(), heap.stats()]
            .map(|stats| stats.check().err().map(|error| error.invariant))
    }

    #[test]
    fn a_wrong_count_is_reported_at_rest() {
        let size = SizeClass::for_size(64).index();
        let broken = broken_by(|inner| {
            inner.space.freed[size].fetch_add(1, Relaxed);
        });
        assert_eq!(broken, [Some(Invariant::ClassFrees), None], "one object");
        let broken = broken_by(|inner| {
            inner.space.freed[size].fetch_add(1000, Relaxed);
        });
        assert_eq!(broken, [Some(Invariant::NoUnderflow), None], "more than all others");
        let broken = broken_by(|inner| {
            inner.space.freed_large_bytes.fetch_add(2 << 20, Relaxed);
        });
        assert_eq!(broken, [Some(Invariant::NoUnderflow), None], "large objects");
        let broken = broken_by(|inner| {
            inner.forced_cycles.fetch_add(1000, Relaxed);
        });
        assert!(broken[0].is_some() && broken[1].is_none(), "forced cycles: {broken:?}");
    }
}
