//! The controller: what one cycle teaches about the next.
//!
//! Between cycles it says where the next one begins, so that with a quarter of the
//! processors marking it ends at the goal and nobody assists. While marking it says how much
//! mutators must assist to keep to the goal after all. At the end it learns the *cons/mark
//! ratio*: bytes that mutators allocate in the processor time in which a byte is scanned.
//!
//! ```text
//! pace ──► begin_cycle ──► revise ─┐
//!   ▲           │            ▲─────┘  every few thousand bytes scanned or allocated
//!   │           ▼
//!   └─────  finish_cycle ◄── all is marked
//! ```
//!
//! Runway: marking `w` bytes with a quarter of the processors takes as long as mutators on
//! the other three quarters need for `ratio * 3 * w` bytes of allocation.
//!
//! Settings may change at any time; the next [`pace`](Controller::pace) and the next
//! [`revise`](Controller::revise) go by the new ones.
//!
//! After Go's `mgcpacer.go` (design #44167).
//!
//! Protection: a plain value for one owner at a time. What mutators need of it (trigger, ratio)
//! the caller copies to where they can read it.
//!
//! Not here: the goal's own arithmetic (`goal`), counting (`collect`), time (`limiter`).

#![forbid(unsafe_code)]

use super::Pace;
use super::assist::{AssistRatio, saturate};
use super::goal::{MemoryUse, ScanWork, Settings, Way, percent_of};
use super::workers::{BACKGROUND_UTILIZATION, Reason, Workers};

/// Cycles whose cons/mark ratio is remembered; the largest counts. A ratio too high
/// begins a cycle early, one too low makes mutators assist, which hurts more.
pub const RATIO_CYCLES: usize = 5;

/// Bytes by which the next trigger is above what lives, as long as sweeping is not done:
/// allocation sweeps, so there must be some. Go's `sweepMinHeapDistance`.
pub const SWEEP_DISTANCE_BYTES: u64 = 1 << 20;

/// Percent of the goal that a heap may grow to that has passed it already.
const OVERSHOOT_PERCENT: u64 = 110;

/// Stands for the percentage in a forced cycle when automatic collection is off.
const PERCENT_IF_OFF: u32 = 100_000;

/// Scan work that always seems to remain: estimates are a little wrong, and none left
/// would mean that allocation is free.
const MIN_WORK_LEFT: u64 = 1000;

/// The mutators' share of the processors is never taken to be less: a ratio is found
/// by dividing by it.
const MIN_MUTATOR_SHARE: f64 = 0.01;

/// A cycle begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CycleStart {
    /// Time on the caller's clock.
    pub now_nanos: u64,
    /// Processors that mutators and workers share.
    pub processors: u32,
    /// Why it begins.
    pub reason: Reason,
    /// Bytes of objects: marked by the last cycle, or allocated since.
    pub live_bytes: u64,
    /// Bytes outside the heap that these keep.
    pub external_bytes: u64,
    /// What there is to scan at most: every object with references alive, stacks
    /// whole.
    pub most_work: ScanWork,
}

/// How far a cycle has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// Bytes of objects, those allocated while marking included.
    pub live_bytes: u64,
    /// What has been scanned.
    pub work: ScanWork,
    /// What memory is used for; its `external_bytes` count as live.
    pub memory: MemoryUse,
}

/// Marking has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CycleEnd {
    /// Time on the caller's clock.
    pub now_nanos: u64,
    /// Bytes of objects just before the dead ones are taken off.
    pub live_bytes: u64,
    /// Bytes outside the heap that these keep.
    pub external_bytes: u64,
    /// Bytes of objects marked, or allocated while marking.
    pub marked_bytes: u64,
    /// Bytes outside the heap that those keep.
    pub marked_external_bytes: u64,
    /// What has been scanned.
    pub work: ScanWork,
    /// Processor time of assists.
    pub assist_nanos: u64,
    /// Processor time of idle workers.
    pub idle_nanos: u64,
}

/// What a cycle was like, for traces.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CycleReport {
    /// Share of the processors that background workers and assists had, 0 to 1.
    pub utilization: f64,
    /// The ratio of this cycle; `None` if nothing was allocated in it.
    pub cons_mark: Option<f64>,
}

/// Where cycles begin and what mutators do for them.
///
/// # Invariants
///
/// 1. `cycle` is there from `begin_cycle` to `finish_cycle`.
/// 2. Ratios are finite and not negative.
///
/// # Examples
///
/// ```
/// use mallocgc::collect::pacer::PacerSettings;
/// use mallocgc::collect::pacer::controller::{Controller, CycleEnd, CycleStart, Progress};
/// use mallocgc::collect::pacer::goal::{MemoryUse, ScanWork, Settings};
/// use mallocgc::collect::pacer::workers::Reason;
///
/// let pacer = PacerSettings {
///     gc_percent: Some(100),
///     min_heap_bytes: 4 << 20,
///     heap_limit_bytes: u64::MAX,
/// };
/// let mut controller = Controller::new(Settings { pacer, memory_limit_bytes: u64::MAX });
/// let memory = MemoryUse::default();
/// let trigger_bytes = controller.pace(&memory).trigger_bytes;
///
/// let workers = controller.begin_cycle(&CycleStart {
///     now_nanos: 0,
///     processors: 8,
///     reason: Reason::Demand,
///     live_bytes: trigger_bytes,
///     external_bytes: 0,
///     most_work: ScanWork { heap_bytes: trigger_bytes, ..ScanWork::default() },
/// });
/// assert_eq!(workers.dedicated, 2);
///
/// let work = ScanWork { heap_bytes: 2 << 20, ..ScanWork::default() };
/// let ratio = controller.revise(&Progress { live_bytes: trigger_bytes, work, memory });
/// assert!(ratio.work_for(1 << 10) > 0);
///
/// let report = controller.finish_cycle(&CycleEnd {
///     now_nanos: 1_000_000,
///     live_bytes: trigger_bytes + (100 << 10),
///     external_bytes: 0,
///     marked_bytes: 3 << 20,
///     marked_external_bytes: 0,
///     work,
///     assist_nanos: 0,
///     idle_nanos: 0,
/// });
/// assert_eq!(report.utilization, 0.25);
/// assert_eq!(controller.pace(&memory).goal_bytes, 6 << 20);
/// ```
#[derive(Clone, Debug)]
pub struct Controller {
    settings: Settings,
    /// What the last cycle left, external bytes included.
    marked_bytes: u64,
    /// What the last cycle scanned; of roots, what the next is known to have.
    last_work: ScanWork,
    cons_marks: [f64; RATIO_CYCLES],
    sweep_floor_bytes: u64,
    cycle: Option<Cycle>,
}

/// What stays the same during a cycle.
#[derive(Clone, Copy, Debug)]
struct Cycle {
    begun_nanos: u64,
    processors: u32,
    triggered_bytes: u64,
    expected_work: u64,
    most_work: u64,
}

impl Controller {
    /// The controller of a heap that had no cycle yet.
    pub fn new(settings: Settings) -> Controller {
        Controller {
            settings,
            marked_bytes: 0,
            last_work: ScanWork::default(),
            cons_marks: [0.0; RATIO_CYCLES],
            sweep_floor_bytes: 0,
            cycle: None,
        }
    }

    /// Whether a cycle has begun and not ended.
    pub fn is_in_cycle(&self) -> bool {
        self.cycle.is_some()
    }

    /// The settings.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Changes the settings. In a running cycle, [`revise`](Self::revise) must follow.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Bytes that the last cycle left, external ones included.
    pub fn marked_bytes(&self) -> u64 {
        self.marked_bytes
    }

    /// The goal, and where a cycle is due: when live and external bytes together have
    /// reached the trigger. The trigger is never above the goal, unless it is `u64::MAX`
    /// for never.
    ///
    /// Cheap; call it again when settings or the use of memory have changed.
    pub fn pace(&self, memory: &MemoryUse) -> Pace {
        let way = Way {
            marked_bytes: self.marked_bytes,
            runway_bytes: self.runway_bytes(),
            sweep_floor_bytes: self.sweep_floor_bytes,
            triggered_bytes: self.cycle.map(|cycle| cycle.triggered_bytes),
        };
        way.pace(self.settings.goal(self.marked_bytes, &self.last_work, memory))
    }

    /// Begins a cycle; answers which workers it should have.
    ///
    /// # Panics
    ///
    /// If one is running.
    pub fn begin_cycle(&mut self, start: &CycleStart) -> Workers {
        assert!(self.cycle.is_none(), "a cycle begins in a cycle");
        self.last_work.root_bytes = start.most_work.root_bytes;
        let workers = Workers::new(start.processors, start.reason);
        self.cycle = Some(Cycle {
            begun_nanos: start.now_nanos,
            processors: workers.processors,
            triggered_bytes: start.live_bytes.saturating_add(start.external_bytes),
            expected_work: self.last_work.total_bytes(),
            most_work: start.most_work.total_bytes(),
        });
        workers
    }

    /// The assist ratio from now on. Call it as work proceeds and the heap grows; a ratio
    /// that is a little old is harmless.
    ///
    /// # Panics
    ///
    /// If no cycle is running.
    pub fn revise(&self, progress: &Progress) -> AssistRatio {
        let cycle = self.cycle.expect("no cycle is running");
        let live = progress.live_bytes.saturating_add(progress.memory.external_bytes);
        let done = progress.work.total_bytes();
        let mut goal = self.pace(&progress.memory).goal_bytes;
        let mut expected = cycle.expected_work;
        if done > expected {
            // The heap has grown. The same assists go on until everything there may be is
            // scanned, which takes more runway. The next cycle will let the heap grow as
            // far anyway: that bounds it.
            let percent = self.settings.pacer.gc_percent.unwrap_or(PERCENT_IF_OFF);
            let runway = goal.saturating_sub(cycle.triggered_bytes);
            let longer = u128::from(runway) * u128::from(cycle.most_work)
                / u128::from(cycle.expected_work.max(1));
            let farther = cycle.triggered_bytes.saturating_add(saturate(longer));
            goal = farther.min(goal.saturating_add(percent_of(goal, u64::from(percent))));
            expected = cycle.most_work;
        }
        if live > goal {
            // Too late. End soon, be it that all there is must be scanned.
            goal = percent_of(goal, OVERSHOOT_PERCENT);
            expected = cycle.most_work;
        }
        let left = expected.saturating_sub(done).max(MIN_WORK_LEFT);
        AssistRatio::new(left, goal.saturating_sub(live))
    }

    /// Ends the cycle and learns from it. Until [`finish_sweep`](Self::finish_sweep) the
    /// next trigger leaves room for sweeping.
    ///
    /// # Panics
    ///
    /// If no cycle is running.
    pub fn finish_cycle(&mut self, end: &CycleEnd) -> CycleReport {
        let cycle = self.cycle.take().expect("no cycle is running");
        let elapsed = end.now_nanos.saturating_sub(cycle.begun_nanos);
        let total_nanos = elapsed as f64 * f64::from(cycle.processors);
        let share = |nanos: u64| match elapsed {
            0 => 0.0,
            _ => (nanos as f64 / total_nanos).min(1.0),
        };
        let utilization = (BACKGROUND_UTILIZATION + share(end.assist_nanos)).min(1.0);
        let live = end.live_bytes.saturating_add(end.external_bytes);
        let allocated = live.saturating_sub(cycle.triggered_bytes);
        let cons_mark = (allocated > 0).then(|| {
            // Mutators could have used what idle workers took, so it is theirs as well.
            let mutators = (1.0 - utilization).max(MIN_MUTATOR_SHARE);
            let markers = utilization + share(end.idle_nanos);
            let scanned = end.work.total_bytes().max(1);
            (allocated as f64 / mutators) / (scanned as f64 / markers)
        });
        if let Some(cons_mark) = cons_mark {
            self.cons_marks.rotate_left(1);
            self.cons_marks[RATIO_CYCLES - 1] = cons_mark;
        }
        self.marked_bytes = end.marked_bytes.saturating_add(end.marked_external_bytes);
        self.last_work.heap_bytes = end.work.heap_bytes;
        self.last_work.stack_bytes = end.work.stack_bytes;
        self.sweep_floor_bytes = self.marked_bytes.saturating_add(SWEEP_DISTANCE_BYTES);
        CycleReport { utilization, cons_mark }
    }

    /// Everything is swept.
    pub fn finish_sweep(&mut self) {
        self.sweep_floor_bytes = 0;
    }

    /// Bytes that mutators will allocate while the expected work is done without assists.
    fn runway_bytes(&self) -> u64 {
        let cons_mark = self.cons_marks.iter().copied().fold(0.0, f64::max);
        let per_marker = (1.0 - BACKGROUND_UTILIZATION) / BACKGROUND_UTILIZATION;
        // Saturates.
        (cons_mark * per_marker * self.last_work.total_bytes() as f64) as u64
    }
}
