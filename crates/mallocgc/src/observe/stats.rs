//! The statistics of one heap, and the relations that hold between them.
//!
//! [`MemStats`] has the meanings of the origin's 32 fields, then this
//! library's own. It is a plain value that the interface layer fills in; what
//! it holds need not be from one instant when other threads allocate or sweep
//! meanwhile, so [`MemStats::check`] is for a heap at rest: every mutator at a
//! boundary and nobody sweeping. Then all relations hold exactly; tests call
//! it after every step. Beside running mutators all but one hold.
//!
//! Counting conventions:
//!
//! - An object counts with the bytes of its cell, a large one with the bytes of
//!   its span.
//! - A dead object counts as alive until it is swept.
//! - A tiny value that found room in an open block counts in `mallocs` and at
//!   once in `frees` (nobody will see it die); its block counts as an object of 16 bytes.

use core::fmt;
use core::ops::{Index, IndexMut};

use crate::base::SIZE_CLASSES;

use super::cycle_record::PauseRing;

/// Statistics of a heap. Sizes are bytes, durations nanoseconds, totals count
/// from the heap's making and never fall.
///
/// ```
/// use mallocgc::observe::{Invariant, MemStats};
///
/// let mut stats = MemStats::default();
/// assert_eq!(stats.check(), Ok(()));
/// stats.heap_sys = 8192; // of which nothing is in use and nothing idle
/// let error = stats.check().unwrap_err();
/// assert_eq!(error.invariant, Invariant::Sys);
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MemStats {
    // --- General ---
    /// Bytes in objects; the same number as `heap_alloc`.
    pub alloc: u64,
    /// Bytes in all objects ever allocated.
    pub total_alloc: u64,
    /// Bytes obtained from the system: the sum of all fields that end in `_sys`.
    pub sys: u64,
    /// Answers of `find_object`.
    pub lookups: u64,
    /// Objects ever allocated, tiny values included.
    pub mallocs: u64,
    /// Objects ever freed, tiny values that shared a block included.
    pub frees: u64,

    // --- Heap ---
    /// Bytes in objects, dead ones not swept yet included.
    pub heap_alloc: u64,
    /// Bytes of the reservation the heap has grown into: `heap_idle + heap_inuse`.
    pub heap_sys: u64,
    /// Bytes of pages in no span.
    pub heap_idle: u64,
    /// Bytes of pages in spans.
    pub heap_inuse: u64,
    /// Bytes of idle pages that take no memory: given back, or never touched.
    pub heap_released: u64,
    /// Objects: `mallocs - frees`.
    pub heap_objects: u64,

    // --- Stacks: a library has none ---
    /// Always zero: the heap holds no stacks. Kept so that readers of the origin's statistics find it.
    pub stack_inuse: u64,
    /// Always zero, as `stack_inuse`.
    pub stack_sys: u64,

    // --- The heap's own records ---
    /// Bytes of span records in use.
    pub span_inuse: u64,
    /// Bytes obtained for span records.
    pub span_sys: u64,
    /// Bytes of mutator caches in use.
    pub cache_inuse: u64,
    /// Bytes obtained for mutator caches.
    pub cache_sys: u64,
    /// Bytes obtained for the buckets of the profile.
    pub bucket_hash_sys: u64,
    /// Bytes obtained for marking: bitmaps, mark stacks, page tables.
    pub gc_sys: u64,
    /// Bytes obtained for everything else: specials, layouts, chunks not handed out yet.
    pub other_sys: u64,

    // --- Collection ---
    /// Goal of the next cycle; `u64::MAX` when there is none.
    pub next_gc: u64,
    /// When the last pause ended: wall clock, nanoseconds since 1970; 0 before the first.
    pub last_gc: u64,
    /// Nanoseconds the world stood, over all cycles.
    pub pause_total_nanos: u64,
    /// The last 256 pauses with their ends.
    pub pauses: PauseRing,
    /// Cycles completed.
    pub num_gc: u64,
    /// Those of `num_gc` that somebody asked for.
    pub num_forced_gc: u64,
    /// Share of the process's CPU time since the heap was made that its collector used, 0 to 1.
    pub gc_cpu_fraction: f64,
    /// Whether reaching the trigger starts a cycle.
    pub enable_gc: bool,
    /// Always false, as in the origin, where it is no longer used.
    pub debug_gc: bool,
    /// Counts by size class.
    pub by_size: BySize,

    // --- Beyond the origin ---
    /// Bytes in all objects ever freed.
    pub total_freed: u64,
    /// Bytes of large objects ever allocated.
    pub large_alloc: u64,
    /// Bytes of large objects ever freed.
    pub large_freed: u64,
    /// Tiny values that found room in an open block (in `mallocs` and `frees`, in no size class).
    pub tiny_allocs: u64,
    /// Bytes the last cycle found alive.
    pub live_bytes: u64,
    /// Heap bytes at which the next cycle begins; `u64::MAX` when there is none.
    pub trigger: u64,
    /// Hard limit of the heap in bytes, on spans and external bytes; `u64::MAX` when there is none.
    pub heap_limit: u64,
    /// Soft limit in bytes, on `mapped_bytes` and external bytes; `u64::MAX` when there is none.
    pub memory_limit: u64,
    /// Bytes obtained from the system and not given back: `sys - heap_released`, less the bitmaps
    /// of what was released.
    pub mapped_bytes: u64,
    /// Bytes that objects hold outside the heap, as told by the program.
    pub external_bytes: u64,
    /// Times the heap limit refused a span or external bytes.
    pub limit_errors: u64,
    /// Cycles due by the memory limit that were held because cycles had taken half of the time.
    pub limiter_held_cycles: u64,
    /// Nanoseconds for which they were held, all in all.
    pub limiter_held_nanos: u64,
    /// Number of the cycle that was held last; 0 when none was.
    pub limiter_last_cycle: u64,
    /// Processor nanoseconds that the collector is ahead of the mutators; full at one second for
    /// each processor.
    pub limiter_fill_nanos: u64,
    /// Bytes given back to the system: by the background, to keep to the memory limit, on request.
    pub scavenged_bytes: u64,
    /// CPU nanoseconds of giving back in the background.
    pub scavenge_cpu_nanos: u64,
    /// Calls of pressure hooks.
    pub pressure_calls: u64,
    /// Those of `pressure_calls` that panicked.
    pub pressure_panicked: u64,
    /// CPU nanoseconds the collector used, over all threads.
    pub gc_cpu_nanos: u64,
    /// Mutators attached.
    pub mutators: u64,
    /// Finalizers whose objects died.
    pub finalizers_queued: u64,
    /// Those of `finalizers_queued` that were called.
    pub finalizers_executed: u64,
    /// Those of `finalizers_executed` that panicked.
    pub finalizers_panicked: u64,
    /// Cleanups whose objects died.
    pub cleanups_queued: u64,
    /// Those of `cleanups_queued` that were called.
    pub cleanups_executed: u64,
    /// Those of `cleanups_executed` that panicked.
    pub cleanups_panicked: u64,
    /// Weak handles that still lead to an object.
    pub weak_handles: u64,
    /// Weak handles ever cleared because their object died.
    pub weak_cleared: u64,
    /// Allocations the profile sampled.
    pub profile_samples: u64,
    /// Those of `profile_samples` that found the table of buckets full.
    pub profile_overflows: u64,
}

/// Counts of one size class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SizeStats {
    /// Bytes of a cell; 0 for the large objects, which have no common size.
    pub size: u64,
    /// Cells ever taken.
    pub mallocs: u64,
    /// Cells ever freed.
    pub frees: u64,
}

/// A [`SizeStats`] for each size class, by its number; entry 0 is the large objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BySize(pub [SizeStats; SIZE_CLASSES]);

impl Default for BySize {
    fn default() -> BySize {
        BySize([SizeStats::default(); SIZE_CLASSES])
    }
}

impl Index<usize> for BySize {
    type Output = SizeStats;
    fn index(&self, class: usize) -> &SizeStats {
        &self.0[class]
    }
}

impl IndexMut<usize> for BySize {
    fn index_mut(&mut self, class: usize) -> &mut SizeStats {
        &mut self.0[class]
    }
}

impl BySize {
    /// The classes by number.
    pub fn iter(&self) -> core::slice::Iter<'_, SizeStats> {
        self.0.iter()
    }

    fn sum(&self, of: impl Fn(&SizeStats) -> u64) -> u64 {
        // Wrapping: a sum of nonsense must not panic before it is reported.
        self.0.iter().fold(0, |sum, class| sum.wrapping_add(of(class)))
    }
}

impl<'a> IntoIterator for &'a BySize {
    type Item = &'a SizeStats;
    type IntoIter = core::slice::Iter<'a, SizeStats>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for BySize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Relations between the fields of [`MemStats`], in the order they are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Invariant {
    /// No number has its top bit set: one fell below zero.
    NoUnderflow,
    /// `sys` is the sum of the `_sys` fields.
    Sys,
    /// `heap_sys = heap_idle + heap_inuse`.
    HeapSys,
    /// `heap_released <= heap_idle`.
    HeapReleased,
    /// `alloc = heap_alloc`.
    Alloc,
    /// `heap_alloc = total_alloc - total_freed`.
    TotalAlloc,
    /// `heap_alloc <= heap_inuse`.
    HeapInuse,
    /// `heap_objects = mallocs - frees`.
    HeapObjects,
    /// `stack_inuse = 0`.
    StackInuse,
    /// `stack_sys = 0`.
    StackSys,
    /// `span_inuse <= span_sys`.
    SpanInuse,
    /// `cache_inuse <= cache_sys`.
    CacheInuse,
    /// `mapped_bytes <= sys - heap_released`.
    Mapped,
    /// `mallocs` is the sum over the size classes plus `tiny_allocs`.
    MallocsBySize,
    /// `frees` is the sum over the size classes plus `tiny_allocs`.
    FreesBySize,
    /// No size class freed more than it allocated.
    ClassFrees,
    /// Sizes rise with the class.
    ClassSizes,
    /// `total_alloc` is the bytes of the size classes plus `large_alloc`.
    TotalAllocBySize,
    /// `total_freed` is the bytes freed of the size classes plus `large_freed`.
    TotalFreedBySize,
    /// `num_forced_gc <= num_gc`.
    ForcedCycles,
    /// There was a pause for each cycle.
    PauseCount,
    /// `pause_total_nanos` is the sum of all pauses.
    PauseTotal,
    /// `last_gc` is the end of the newest pause, 0 when there was none.
    LastGc,
    /// `gc_cpu_fraction` is within 0 to 1.
    CpuFraction,
    /// `trigger <= next_gc`.
    Trigger,
    /// `live_bytes <= total_alloc`.
    LiveBytes,
    /// No more finalizers were called than queued.
    FinalizersExecuted,
    /// No more finalizers panicked than were called.
    FinalizersPanicked,
    /// No more cleanups were called than queued.
    CleanupsExecuted,
    /// No more cleanups panicked than were called.
    CleanupsPanicked,
    /// No more pressure hooks panicked than were called.
    PressurePanicked,
    /// The cycle that was held last is one that has ended or comes next.
    LimiterLastCycle,
    /// No more samples overflowed than were taken.
    ProfileOverflows,
}

/// A relation of [`MemStats`] that does not hold, with its two sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatsError {
    /// The relation.
    pub invariant: Invariant,
    /// Its left side.
    pub left: u64,
    /// Its right side.
    pub right: u64,
}

impl fmt::Display for StatsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StatsError { invariant, left, right } = self;
        write!(f, "heap statistics break {invariant:?}: {left} against {right}")
    }
}

impl core::error::Error for StatsError {}

/// `Ok` when the sides are equal.
fn equal(invariant: Invariant, left: u64, right: u64) -> Result<(), StatsError> {
    if left == right { Ok(()) } else { Err(StatsError { invariant, left, right }) }
}

/// `Ok` when the left side is not above the right one.
fn at_most(invariant: Invariant, left: u64, right: u64) -> Result<(), StatsError> {
    if left <= right { Ok(()) } else { Err(StatsError { invariant, left, right }) }
}

impl MemStats {
    /// Checks every [`Invariant`] and names the first that fails. For a heap at
    /// rest. Beside running mutators only [`HeapInuse`](Invariant::HeapInuse)
    /// may fail of what `Heap::stats` returns: objects and spans are counted at different moments.
    pub fn check(&self) -> Result<(), StatsError> {
        self.check_underflow()?;
        self.check_memory()?;
        self.check_objects()?;
        self.check_cycles()?;
        self.check_queues()
    }

    /// Every number that counts or measures, without those where the maximum means "none".
    fn counters(&self) -> [u64; 53] {
        [
            self.alloc,
            self.total_alloc,
            self.sys,
            self.lookups,
            self.mallocs,
            self.frees,
            self.heap_alloc,
            self.heap_sys,
            self.heap_idle,
            self.heap_inuse,
            self.heap_released,
            self.heap_objects,
            self.stack_inuse,
            self.stack_sys,
            self.span_inuse,
            self.span_sys,
            self.cache_inuse,
            self.cache_sys,
            self.bucket_hash_sys,
            self.gc_sys,
            self.other_sys,
            self.last_gc,
            self.pause_total_nanos,
            self.num_gc,
            self.num_forced_gc,
            self.total_freed,
            self.large_alloc,
            self.large_freed,
            self.tiny_allocs,
            self.live_bytes,
            self.external_bytes,
            self.mapped_bytes,
            self.limit_errors,
            self.limiter_held_cycles,
            self.limiter_held_nanos,
            self.limiter_last_cycle,
            self.limiter_fill_nanos,
            self.scavenged_bytes,
            self.scavenge_cpu_nanos,
            self.pressure_calls,
            self.pressure_panicked,
            self.gc_cpu_nanos,
            self.mutators,
            self.finalizers_queued,
            self.finalizers_executed,
            self.finalizers_panicked,
            self.cleanups_queued,
            self.cleanups_executed,
            self.cleanups_panicked,
            self.weak_handles,
            self.weak_cleared,
            self.profile_samples,
            self.profile_overflows,
        ]
    }

    fn check_underflow(&self) -> Result<(), StatsError> {
        const LIMIT: u64 = 1 << 63;
        let classes = self.by_size.iter().flat_map(|class| [class.mallocs, class.frees]);
        for number in self.counters().into_iter().chain(classes) {
            at_most(Invariant::NoUnderflow, number, LIMIT)?;
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<(), StatsError> {
        let parts = [
            self.heap_sys,
            self.stack_sys,
            self.span_sys,
            self.cache_sys,
            self.bucket_hash_sys,
            self.gc_sys,
            self.other_sys,
        ];
        let sum = parts.iter().fold(0u64, |sum, &part| sum.wrapping_add(part));
        equal(Invariant::Sys, self.sys, sum)?;
        equal(Invariant::HeapSys, self.heap_sys, self.heap_idle.wrapping_add(self.heap_inuse))?;
        at_most(Invariant::HeapReleased, self.heap_released, self.heap_idle)?;
        equal(Invariant::StackInuse, self.stack_inuse, 0)?;
        equal(Invariant::StackSys, self.stack_sys, 0)?;
        at_most(Invariant::SpanInuse, self.span_inuse, self.span_sys)?;
        at_most(Invariant::CacheInuse, self.cache_inuse, self.cache_sys)?;
        at_most(Invariant::Mapped, self.mapped_bytes, self.sys.wrapping_sub(self.heap_released))
    }

    fn check_objects(&self) -> Result<(), StatsError> {
        equal(Invariant::Alloc, self.alloc, self.heap_alloc)?;
        let left = self.total_alloc.wrapping_sub(self.total_freed);
        equal(Invariant::TotalAlloc, self.heap_alloc, left)?;
        at_most(Invariant::HeapInuse, self.heap_alloc, self.heap_inuse)?;
        equal(Invariant::HeapObjects, self.heap_objects, self.mallocs.wrapping_sub(self.frees))?;

        let by_size = &self.by_size;
        let mallocs = by_size.sum(|class| class.mallocs).wrapping_add(self.tiny_allocs);
        equal(Invariant::MallocsBySize, self.mallocs, mallocs)?;
        let frees = by_size.sum(|class| class.frees).wrapping_add(self.tiny_allocs);
        equal(Invariant::FreesBySize, self.frees, frees)?;
        for class in by_size {
            at_most(Invariant::ClassFrees, class.frees, class.mallocs)?;
        }
        for pair in by_size.0.windows(2) {
            at_most(Invariant::ClassSizes, pair[0].size, pair[1].size)?;
        }
        // Class 0 has size 0, so the large objects add nothing to these sums.
        let small = by_size.sum(|class| class.size.wrapping_mul(class.mallocs));
        let total = small.wrapping_add(self.large_alloc);
        equal(Invariant::TotalAllocBySize, self.total_alloc, total)?;
        let small = by_size.sum(|class| class.size.wrapping_mul(class.frees));
        let total = small.wrapping_add(self.large_freed);
        equal(Invariant::TotalFreedBySize, self.total_freed, total)?;
        at_most(Invariant::LiveBytes, self.live_bytes, self.total_alloc)
    }

    fn check_cycles(&self) -> Result<(), StatsError> {
        at_most(Invariant::ForcedCycles, self.num_forced_gc, self.num_gc)?;
        at_most(Invariant::PauseCount, self.num_gc, self.pauses.count())?;
        equal(Invariant::PauseTotal, self.pause_total_nanos, self.pauses.total_nanos())?;
        let last = self.pauses.newest().map_or(0, |pause| pause.end_nanos);
        equal(Invariant::LastGc, self.last_gc, last)?;
        if !(0.0..=1.0).contains(&self.gc_cpu_fraction) {
            let left = self.gc_cpu_fraction as u64;
            return Err(StatsError { invariant: Invariant::CpuFraction, left, right: 1 });
        }
        at_most(Invariant::Trigger, self.trigger, self.next_gc)
    }

    fn check_queues(&self) -> Result<(), StatsError> {
        use Invariant::*;
        at_most(FinalizersExecuted, self.finalizers_executed, self.finalizers_queued)?;
        at_most(FinalizersPanicked, self.finalizers_panicked, self.finalizers_executed)?;
        at_most(CleanupsExecuted, self.cleanups_executed, self.cleanups_queued)?;
        at_most(CleanupsPanicked, self.cleanups_panicked, self.cleanups_executed)?;
        at_most(PressurePanicked, self.pressure_panicked, self.pressure_calls)?;
        at_most(LimiterLastCycle, self.limiter_last_cycle, self.num_gc.wrapping_add(1))?;
        at_most(ProfileOverflows, self.profile_overflows, self.profile_samples)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cycle_record::Pause;
    use super::*;

    /// Statistics of an imagined heap in which everything holds.
    fn sound() -> MemStats {
        let mut stats = MemStats::default();
        for (class, entry) in stats.by_size.0.iter_mut().enumerate() {
            *entry = SizeStats { size: class as u64 * 16, mallocs: 100, frees: 60 };
        }
        let cells: u64 = (0..SIZE_CLASSES as u64).map(|class| class * 16).sum();
        stats.large_alloc = 100 << 16;
        stats.large_freed = 60 << 16;
        stats.tiny_allocs = 9;
        stats.mallocs = 100 * SIZE_CLASSES as u64 + 9;
        stats.frees = 60 * SIZE_CLASSES as u64 + 9;
        stats.heap_objects = 40 * SIZE_CLASSES as u64;
        stats.total_alloc = 100 * cells + stats.large_alloc;
        stats.total_freed = 60 * cells + stats.large_freed;
        stats.heap_alloc = stats.total_alloc - stats.total_freed;
        stats.alloc = stats.heap_alloc;
        stats.heap_inuse = stats.heap_alloc + 4096;
        stats.heap_idle = 1 << 20;
        stats.heap_released = 1 << 19;
        stats.heap_sys = stats.heap_inuse + stats.heap_idle;
        (stats.span_inuse, stats.span_sys) = (100, 200);
        (stats.cache_inuse, stats.cache_sys) = (10, 20);
        (stats.bucket_hash_sys, stats.gc_sys, stats.other_sys) = (1, 2, 3);
        stats.sys = stats.heap_sys + 226;
        stats.mapped_bytes = stats.sys - stats.heap_released;
        for number in 1..=300 {
            stats.pauses.record(Pause { nanos: number, end_nanos: number * 1000 });
        }
        stats.pause_total_nanos = 300 * 301 / 2;
        stats.last_gc = 300_000;
        (stats.num_gc, stats.num_forced_gc) = (300, 4);
        stats.gc_cpu_fraction = 0.25;
        stats.live_bytes = 1 << 20;
        (stats.trigger, stats.next_gc, stats.heap_limit) = (5, 6, u64::MAX);
        (stats.finalizers_queued, stats.finalizers_executed, stats.finalizers_panicked) = (3, 2, 1);
        (stats.cleanups_queued, stats.cleanups_executed, stats.cleanups_panicked) = (3, 2, 1);
        (stats.profile_samples, stats.profile_overflows) = (7, 1);
        stats
    }

    #[test]
    fn a_sound_heap_passes() {
        assert_eq!(sound().check(), Ok(()));
        assert_eq!(MemStats::default().check(), Ok(()));
        let off = MemStats { trigger: u64::MAX, next_gc: u64::MAX, ..MemStats::default() };
        assert_eq!(off.check(), Ok(()));
    }

    #[test]
    fn each_broken_relation_is_named() {
        use Invariant::*;
        type Break = fn(&mut MemStats);
        let breaks: [(Invariant, Break); 33] = [
            (NoUnderflow, |s| s.heap_objects = (-1i64) as u64),
            (Sys, |s| s.sys += 1),
            (HeapSys, |s| s.heap_idle += 1),
            (HeapReleased, |s| s.heap_released = s.heap_idle + 1),
            (Alloc, |s| s.alloc += 1),
            (TotalAlloc, |s| s.total_alloc += 1),
            (HeapInuse, |s| {
                let unused = s.heap_inuse - s.heap_alloc + 1;
                s.heap_inuse -= unused;
                s.heap_idle += unused;
            }),
            (HeapObjects, |s| s.heap_objects -= 1),
            (StackInuse, |s| s.stack_inuse = 1),
            (StackSys, |s| {
                s.stack_sys = 1;
                s.sys += 1;
            }),
            (SpanInuse, |s| s.span_inuse = s.span_sys + 1),
            (CacheInuse, |s| s.cache_inuse = s.cache_sys + 1),
            (Mapped, |s| s.mapped_bytes += 1),
            (MallocsBySize, |s| s.by_size[5].mallocs += 1),
            (FreesBySize, |s| s.by_size[5].frees += 1),
            (ClassFrees, |s| {
                s.by_size[7].frees += 41;
                s.by_size[8].frees -= 41;
            }),
            (ClassSizes, |s| s.by_size[9].size += 1000),
            (TotalAllocBySize, |s| {
                s.by_size[7].mallocs += 1;
                s.by_size[8].mallocs -= 1;
            }),
            (TotalFreedBySize, |s| {
                s.by_size[7].frees += 1;
                s.by_size[8].frees -= 1;
            }),
            (ForcedCycles, |s| s.num_forced_gc = 301),
            (PauseCount, |s| s.num_gc = 301),
            (PauseTotal, |s| s.pause_total_nanos += 1),
            (LastGc, |s| s.last_gc -= 1),
            (CpuFraction, |s| s.gc_cpu_fraction = 1.5),
            (Trigger, |s| s.trigger = s.next_gc + 1),
            (LiveBytes, |s| s.live_bytes = s.total_alloc + 1),
            (FinalizersExecuted, |s| s.finalizers_executed = 4),
            (FinalizersPanicked, |s| s.finalizers_panicked = 3),
            (CleanupsExecuted, |s| s.cleanups_executed = 4),
            (CleanupsPanicked, |s| s.cleanups_panicked = 3),
            (PressurePanicked, |s| s.pressure_panicked = 8),
            (LimiterLastCycle, |s| s.limiter_last_cycle = 1000),
            (ProfileOverflows, |s| s.profile_overflows = 8),
        ];
        for (invariant, break_it) in breaks {
            let mut stats = sound();
            break_it(&mut stats);
            let error = stats.check().expect_err("a broken relation must be found");
            assert_eq!(error.invariant, invariant, "{error}");
        }
        let nan = MemStats { gc_cpu_fraction: f64::NAN, ..sound() };
        assert_eq!(nan.check().unwrap_err().invariant, CpuFraction);
    }

    #[test]
    #[cfg(feature = "serde")]
    fn json_has_every_part_under_its_name() {
        let json = serde_json::to_value(sound()).expect("numbers and lists");
        assert_eq!(json["num_gc"], 300);
        assert_eq!(json["heap_limit"], u64::MAX);
        assert_eq!(json["gc_cpu_fraction"], 0.25);
        assert_eq!(json["pauses"].as_array().map(Vec::len), Some(256));
        assert_eq!(json["pauses"][0]["nanos"], 300, "the last one first");
        assert_eq!(json["by_size"][67]["size"], 67 * 16);
    }

    #[test]
    fn errors_show_both_sides() {
        let stats = MemStats { sys: 5, ..MemStats::default() };
        let text = stats.check().unwrap_err().to_string();
        assert_eq!(text, "heap statistics break Sys: 5 against 0");
    }
}
