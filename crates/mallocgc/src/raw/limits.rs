//! Keeping to the limits: the pace they leave, the cap on what that may cost,
//! and memory given back when it is too much.
//!
//! After each cycle, and whenever a setting or the external bytes change, the goal is
//! computed anew (`collect::pacer::goal`). Where the memory limit makes it smaller than it
//! would be without, the limiter watches what cycles cost: once its bucket has
//! no room for another such cycle, that is *held* until mutators have had as much time, and the heap
//! passes the limit rather than the program half of its time. Cycles that are due without the memory limit are
//! never held, nor those after an allocation has failed.
//!
//! Protection: atomics, all of them counts or settings, and the limiter under its lock. Only
//! a cycle, under the cycle lock, writes what was found by it.
//!
//! Not here: the hard limit itself (`heap::limits`), pressure hooks (`pressure`).

use crate::base::WORD_SIZE;
use crate::base::sync::{AtomicBool, AtomicU64, Lock, Ordering::Relaxed, Rank};
use crate::collect::cycle::CycleReport;
use crate::collect::pacer::Pace;
use crate::collect::pacer::goal::{MemoryUse, Settings};
use crate::collect::pacer::limiter::{Limiter, Phase};
use crate::os::{self, cgroup};
use crate::raw::config::Config;
use crate::raw::heap::{Heap, Inner};
use crate::world::callback;
use std::path::Path;

/// External bytes may shrink by so much, and a sixteenth, before the goal follows.
const SHRINK_BYTES: u64 = 64 << 10;

/// What keeping to the limits of a heap needs to know.
// Relaxed everywhere: counts and settings; a value that is a little old makes a cycle a little
// early or late.
#[derive(Debug)]
pub(crate) struct Limiting {
    /// The memory limit as set, before the control group's part.
    set_bytes: AtomicU64,
    /// What the control group leaves; `u64::MAX` without one.
    cgroup_bytes: AtomicU64,
    /// Whether somebody must look after allocations: there is a memory limit, or
    /// there are pressure hooks.
    pub(crate) watched: AtomicBool,
    limiter: Lock<Limiter>,
    /// The trigger there would be without a memory limit.
    free_trigger_bytes: AtomicU64,
    /// Cycles due by the memory limit alone wait until then; 0 when they need not.
    held_until_nanos: AtomicU64,
    /// Since when a cycle is being held; 0 when none is.
    held_since_nanos: AtomicU64,
    held_cycles: AtomicU64,
    held_nanos: AtomicU64,
    last_held_cycle: AtomicU64,
    /// Bytes that the last cycle found in spans and in no object.
    gaps_bytes: AtomicU64,
    /// External bytes when the last cycle ended, or fewer if they have shrunk since.
    external_kept_bytes: AtomicU64,
    /// In a heap whose words are ambiguous: what growth is a percentage of.
    base_bytes: AtomicU64,
    /// `Limits::scavenged_bytes` at the last cycle.
    scavenged_before: AtomicU64,
    /// Processor time of giving memory back in the background.
    pub(crate) scavenge_nanos: AtomicU64,
}

/// What a cycle's record says of limits.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct CycleLimits {
    pub(crate) external_bytes: u64,
    /// 0 if the memory limit did not make the next goal smaller.
    pub(crate) memory_limit_bytes: u64,
    /// How long the cycle was held.
    pub(crate) held_nanos: u64,
    /// Given back since the cycle before.
    pub(crate) scavenged_bytes: u64,
}

/// Numbers of the limiter for the statistics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldCounts {
    pub(crate) cycles: u64,
    pub(crate) nanos: u64,
    pub(crate) last_cycle: u64,
    pub(crate) fill_nanos: u64,
}

/// What growth is a percentage of where marking looks at every word: the more work
/// a cycle is, the later comes the next. Objects without references cost little, and
/// whole segments of data are looked at most of which name nothing (the weights are
/// the Boehm collector's, in halves).
fn growth_base(live_bytes: u64, plain_bytes: u64, root_bytes: u64) -> u64 {
    live_bytes - plain_bytes + plain_bytes / 4 + root_bytes / 2
}

impl Limiting {
    pub(crate) fn new(config: &Config) -> Limiting {
        let limiter = Limiter::new(os::now_nanos(), os::processors() as u32);
        let zero = || AtomicU64::new(0);
        Limiting {
            set_bytes: AtomicU64::new(none_above(config.memory_limit_bytes)),
            cgroup_bytes: AtomicU64::new(cgroup_share(config)),
            watched: AtomicBool::new(false),
            limiter: Lock::new(Rank::Observe, limiter),
            free_trigger_bytes: AtomicU64::new(u64::MAX),
            held_until_nanos: zero(),
            held_since_nanos: zero(),
            held_cycles: zero(),
            held_nanos: zero(),
            last_held_cycle: zero(),
            gaps_bytes: zero(),
            external_kept_bytes: zero(),
            base_bytes: zero(),
            scavenged_before: zero(),
            scavenge_nanos: zero(),
        }
    }

    /// Bytes in spans and in no object, as the last cycle found them.
    pub(crate) fn gaps_bytes(&self) -> u64 {
        self.gaps_bytes.load(Relaxed)
    }

    /// What was held so far.
    pub(crate) fn held(&self) -> HeldCounts {
        HeldCounts {
            cycles: self.held_cycles.load(Relaxed),
            nanos: self.held_nanos.load(Relaxed),
            last_cycle: self.last_held_cycle.load(Relaxed),
            fill_nanos: self.limiter.lock().fill_nanos(),
        }
    }
}

/// A limit as the pacer has it: beyond what a machine addresses there is none.
fn none_above(bytes: usize) -> u64 {
    if bytes == usize::MAX { u64::MAX } else { bytes as u64 }
}

/// The configured part of the control group's limit.
fn cgroup_share(config: &Config) -> u64 {
    let Some(percent) = config.cgroup_percent else { return u64::MAX };
    let root = config.cgroup_root.as_deref().unwrap_or(Path::new("/"));
    let Some(limit) = cgroup::memory_limit_under(root) else { return u64::MAX };
    let part = u128::from(limit) * u128::from(percent.min(100)) / 100;
    u64::try_from(part).unwrap_or(u64::MAX)
}

impl Heap {
    /// Sets the bytes of memory that the heap tries not to exceed, external bytes
    /// included; `usize::MAX` for no limit. Returns the old setting. The limit holds with
    /// automatic collection off, too.
    ///
    /// The limit is soft: cycles begin earlier and free pages are given back, but no allocation fails by
    /// it, and cycles never take more than half of the time for it
    /// ([`MemStats::limiter_held_cycles`](crate::observe::MemStats) says when that was the
    /// case). If memory in use is above a lowered limit, what is free is given back
    /// at once, and the next boundary collects.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap};
    /// let heap = Heap::new(Config::default())?;
    /// assert_eq!(heap.set_memory_limit_bytes(64 << 20), usize::MAX);
    /// assert_eq!(heap.memory_limit_bytes(), 64 << 20);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn set_memory_limit_bytes(&self, bytes: usize) -> usize {
        let inner = self.inner();
        let old = inner.limiting.set_bytes.swap(none_above(bytes), Relaxed);
        inner.apply_memory_limit();
        old as usize
    }

    /// The memory limit in force: the one that was set, or the control group's part if that
    /// is smaller; `usize::MAX` for none.
    pub fn memory_limit_bytes(&self) -> usize {
        self.inner().space.limits.memory_bytes()
    }

    /// Reads the control group's limit again, which may change while a program runs, if
    /// [`Config::cgroup_percent`] asks for it. Returns the memory limit in force.
    pub fn update_cgroup_limit(&self) -> usize {
        let inner = self.inner();
        inner.limiting.cgroup_bytes.store(cgroup_share(&inner.config), Relaxed);
        inner.apply_memory_limit();
        self.memory_limit_bytes()
    }
}

impl Inner {
    /// Puts the smaller of both memory limits in force.
    pub(crate) fn apply_memory_limit(&self) {
        let limiting = &self.limiting;
        let set = limiting.set_bytes.load(Relaxed);
        let bytes = set.min(limiting.cgroup_bytes.load(Relaxed));
        self.space.limits.set_memory_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.update_watch();
        self.pace_again();
        self.keep_to_memory_limit();
        self.look_for_pressure();
    }

    /// Decides whether somebody must look after allocations.
    pub(crate) fn update_watch(&self) {
        let limited = self.space.limits.memory_bytes() != usize::MAX;
        self.limiting.watched.store(limited || self.pressure.has_hooks(), Relaxed);
    }

    /// What memory is used for.
    pub(crate) fn memory_use(&self) -> MemoryUse {
        let mapped = self.space.mapped();
        let external_bytes = self.space.limits.external_bytes() as u64;
        let used = (mapped.page_bytes - mapped.free_bytes) as u64;
        let counted = (mapped.page_bytes + mapped.record_bytes) as u64;
        // Free pages above the limit are given back before anything else
        // happens; they are no reason to collect.
        let over = counted
            .saturating_add(external_bytes)
            .saturating_sub(self.space.limits.memory_bytes() as u64)
            .min(mapped.free_bytes as u64);
        MemoryUse {
            mapped_bytes: counted - over,
            free_bytes: mapped.free_bytes as u64 - over,
            // Dead objects that are not swept yet count here, as they should.
            allocated_bytes: used.saturating_sub(self.limiting.gaps_bytes()),
            external_bytes,
        }
    }

    /// The pace in force with the memory limit, and what it would be without.
    pub(crate) fn paces(&self) -> (Pace, Pace) {
        let pacer = *self.pacer.lock();
        let memory_limit_bytes = match self.space.limits.memory_bytes() {
            usize::MAX => u64::MAX,
            bytes => bytes as u64,
        };
        let memory = match memory_limit_bytes {
            // The limit is all that asks for the others.
            u64::MAX => MemoryUse::default(),
            _ => self.memory_use(),
        };
        let kept = self.limiting.external_kept_bytes.load(Relaxed);
        let marked = self.history.lasting_bytes().saturating_add(kept);
        let base = match self.client.get() {
            Some(_) => self.limiting.base_bytes.load(Relaxed).saturating_add(kept),
            None => marked,
        };
        let pace = |memory_limit_bytes| {
            Settings { pacer, memory_limit_bytes }.pace_stopped(marked, base, &memory)
        };
        let free = pace(u64::MAX);
        (if memory_limit_bytes == u64::MAX { free } else { pace(memory_limit_bytes) }, free)
    }

    /// Computes the trigger anew after a setting has changed. Returns the pace.
    pub(crate) fn pace_again(&self) -> Pace {
        let (pace, free) = self.paces();
        self.limiting.free_trigger_bytes.store(self.led(free.trigger_bytes), Relaxed);
        if self.space.is_marking() {
            // The trigger says when the cycle is late.
            self.settings_changed_beside();
            return pace;
        }
        self.space.trigger_bytes.store(self.led(pace.trigger_bytes), Relaxed);
        if self.is_due() {
            self.announce_cycle();
        }
        pace
    }

    /// Bytes of objects and outside: what is compared with the trigger.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> u64 {
        let external = self.space.limits.external_bytes() as u64;
        self.space.live_bytes.load(Relaxed).saturating_add(external)
    }

    /// Whether a heap of `heap_bytes`, past its trigger, must wait because collecting has
    /// had its half of the time.
    #[inline]
    pub(crate) fn is_held(&self, heap_bytes: u64) -> bool {
        let until = self.limiting.held_until_nanos.load(Relaxed);
        until != 0 && self.is_held_slow(heap_bytes, until)
    }

    #[cold]
    fn is_held_slow(&self, heap_bytes: u64, until_nanos: u64) -> bool {
        let limiting = &self.limiting;
        if heap_bytes >= limiting.free_trigger_bytes.load(Relaxed) {
            return false;
        }
        let now = os::now_nanos();
        if now >= until_nanos {
            return false;
        }
        if limiting.held_since_nanos.compare_exchange(0, now, Relaxed, Relaxed).is_ok() {
            limiting.held_cycles.fetch_add(1, Relaxed);
            limiting.last_held_cycle.store(self.collector.cycles() + 1, Relaxed);
        }
        true
    }

    /// Takes note of a first stop, of a cycle beside the mutators.
    pub(crate) fn begin_cycle_limits(&self, flip_nanos: u64) {
        let now = os::now_nanos();
        let mut limiter = self.limiting.limiter.lock();
        limiter.begin_stop(now.saturating_sub(flip_nanos), Phase::Mark);
        limiter.finish_stop(now);
    }

    /// Whether mutators may assist: not when the collector has had its half of the
    /// time.
    pub(crate) fn may_assist(&self, now_nanos: u64) -> bool {
        let mut limiter = self.limiting.limiter.lock();
        limiter.update(now_nanos);
        !limiter.limiting()
    }

    /// A mutator has assisted.
    pub(crate) fn add_assist(&self, nanos: u64) {
        self.limiting.limiter.lock().add_assist(nanos);
    }

    /// Takes note of a cycle that has just ended, for the limits; corrects the goal
    /// in its report. The caller holds the cycle lock.
    pub(crate) fn finish_cycle_limits(&self, report: &mut CycleReport) -> CycleLimits {
        let limiting = &self.limiting;
        let limits = &self.space.limits;
        let external_bytes = limits.external_bytes() as u64;
        self.history.set_live_bytes(report);
        let gaps = report.heap_inuse_bytes.saturating_sub(report.heap_end_bytes);
        limiting.gaps_bytes.store(gaps, Relaxed);
        limiting.external_kept_bytes.store(external_bytes, Relaxed);
        let roots = report.roots * WORD_SIZE as u64;
        let base = growth_base(report.live_bytes, report.plain_bytes, roots);
        limiting.base_bytes.store(base, Relaxed);
        let took = report.whole_nanos(os::processors() as u64);
        let hold = {
            let mut limiter = limiting.limiter.lock();
            if report.is_beside() {
                limiter.add_idle(self.pacing.idle_nanos(report));
                let begin_nanos = report.end_nanos.saturating_sub(report.pause_nanos);
                limiter.begin_stop(begin_nanos, Phase::Off);
                limiter.finish_stop(report.end_nanos);
            } else {
                limiter.add_stopped_cycle(report.end_nanos.saturating_sub(took), report.end_nanos);
            }
            limiter.hold_nanos(took)
        };
        let until = if hold == 0 { 0 } else { report.end_nanos.saturating_add(hold) };
        limiting.held_until_nanos.store(until, Relaxed);
        let held_nanos = match limiting.held_since_nanos.swap(0, Relaxed) {
            0 => 0,
            since => report.begin_nanos.saturating_sub(since),
        };
        limiting.held_nanos.fetch_add(held_nanos, Relaxed);
        let scavenged = limits.scavenged_bytes();
        let before = limiting.scavenged_before.swap(scavenged, Relaxed);
        let pace = self.pace_again();
        report.goal_bytes = pace.goal_bytes;
        let free = limiting.free_trigger_bytes.load(Relaxed);
        CycleLimits {
            external_bytes,
            memory_limit_bytes: match pace.trigger_bytes < free {
                true => limits.memory_bytes() as u64,
                false => 0,
            },
            held_nanos,
            scavenged_bytes: scavenged - before,
        }
    }

    /// Sweeps and gives free pages back, as far as the heap is above its memory limit. Not
    /// when the collector has had its share of the time.
    pub(crate) fn keep_to_memory_limit(&self) {
        if self.space.limits.memory_bytes() == usize::MAX
            || callback::is_inside()
            || self.above_memory_limit() == 0
        {
            return;
        }
        self.within_limiter(|| {
            self.space.finish_sweep();
            let above = self.above_memory_limit();
            if above != 0 {
                self.space.decommit_free(above);
            }
        });
    }

    /// Does the collector's work on a mutator's time, unless it has had its share. The
    /// time is the collector's.
    fn within_limiter(&self, work: impl FnOnce()) {
        let begin = os::now_nanos();
        {
            let mut limiter = self.limiting.limiter.lock();
            limiter.update(begin);
            if limiter.limiting() {
                return;
            }
        }
        work();
        let nanos = os::now_nanos().saturating_sub(begin);
        self.limiting.limiter.lock().add_assist(nanos);
    }

    /// Bytes above the memory limit.
    fn above_memory_limit(&self) -> usize {
        let mapped = self.space.mapped();
        let limits = &self.space.limits;
        (mapped.page_bytes + mapped.record_bytes)
            .saturating_add(limits.external_bytes())
            .saturating_sub(limits.memory_bytes())
    }

    /// Looks at the limits after an allocation has taken memory.
    #[inline]
    pub(crate) fn after_growth(&self) {
        if self.is_due() {
            self.announce_cycle();
        }
        if self.limiting.watched.load(Relaxed) {
            self.watch_limits();
        }
    }

    #[cold]
    fn watch_limits(&self) {
        if self.space.limits.memory_bytes() != usize::MAX && self.space.limits.take_grown() {
            let above = self.above_memory_limit();
            // Pages that were not in memory were taken while others are in memory and free.
            if above != 0 && self.space.free_dirty_bytes() != 0 {
                self.within_limiter(|| {
                    self.space.decommit_free(above);
                });
            }
        }
        self.look_for_full_limit();
    }

    /// External bytes became fewer. The goal was computed from what they were when the
    /// last cycle ended, dead objects' among them.
    pub(crate) fn external_shrank(&self) {
        let limiting = &self.limiting;
        let now = self.space.limits.external_bytes() as u64;
        let kept = limiting.external_kept_bytes.load(Relaxed);
        if now < kept.saturating_sub(SHRINK_BYTES.max(kept / 16)) {
            limiting.external_kept_bytes.fetch_min(now, Relaxed);
            self.pace_again();
        }
    }
}
