//! When to collect: arithmetic on bytes, nothing else.
//!
//! With the world stopped while marking, nothing is allocated during a cycle
//! and the trigger is the goal: live bytes grown by `gc_percent`, at least
//! the minimum heap, at most what the heap limit leaves.

//!
//! The modules are for marking beside mutators: how far the heap may grow
//! ([`goal`]), what mutators do for it ([`assist`], [`workers`]), a cycle from
//! begin to end ([`controller`]), and when it all takes too much ([`limiter`]).
//! They read no clock and keep no lock; `docs/design/pacing.md` explains them.

#![forbid(unsafe_code)]

pub mod assist;
pub mod goal;
pub mod workers;
pub mod controller;
pub mod limiter;
#[cfg(test)]
mod simulation;

/// Settings of the pacer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacerSettings {
    /// Growth over live bytes, in percent, that starts a cycle; `None` turns
    /// automatic collection off.
    pub gc_percent: Option<u32>,
    /// Below this many bytes at 100 percent no cycle starts; scaled by
    /// `gc_percent` as in the origin.
    pub min_heap_bytes: u64,
    /// Bytes the heap may not exceed.
    pub heap_limit_bytes: u64,
}

/// What the pacer decided at the end of a cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Bytes the heap should not exceed.
    pub goal_bytes: u64,
    /// Bytes at which the next cycle starts; `u64::MAX` for never.
    pub trigger_bytes: u64,
}

impl PacerSettings {
    /// The goal and the trigger after a cycle that left `live_bytes`.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::collect::pacer::PacerSettings;
    /// let settings = PacerSettings {
    ///     gc_percent: Some(100),
    ///     min_heap_bytes: 4 << 20,
    ///     heap_limit_bytes: u64::MAX,
    /// };
    /// assert_eq!(settings.pace(100 << 20).goal_bytes, 200 << 20);
    /// assert_eq!(settings.pace(0).goal_bytes, 4 << 20);
    /// ```
    pub fn pace(&self, live_bytes: u64) -> Pace {
        let Some(percent) = self.gc_percent else {
            let goal_bytes = self.heap_limit_bytes;
            return Pace { goal_bytes, trigger_bytes: u64::MAX };
        };
        let growth = u128::from(live_bytes) * u128::from(percent) / 100;
        let floor = u128::from(self.min_heap_bytes) * u128::from(percent) / 100;
        let goal = (u128::from(live_bytes) + growth).max(floor);
        let goal = u64::try_from(goal).unwrap_or(u64::MAX);
        // Near the limit a cycle starts early enough to leave a span to give.
        let headroom = self.heap_limit_bytes / 16;
        let limit_goal = (self.heap_limit_bytes - headroom).max(live_bytes);
        let goal_bytes = goal.min(limit_goal);
        Pace { goal_bytes, trigger_bytes: goal_bytes }
    }
}

/// Picoseconds that first touching a byte of fresh memory costs at least.
const FAULT_PICOS_PER_BYTE: u64 = 250;

/// Smaller heaps keep strictly to the trigger.
const EARLY_FROM_BYTES: u64 = 32 << 20;

/// Less fresh memory is not worth looking at: this, and a part of what is live.
const FRESH_MIN_BYTES: u64 = 8 << 20;
const FRESH_PART_OF_LIVE: u64 = 32;

/// What a cycle costs besides marking: stopping and waking mutators, a
/// look at every span in the sweep.
const CYCLE_NANOS: u64 = 40_000;

/// The share of the faults' cost that may go into avoiding them.
const AVOIDANCE_PARTS: u64 = 20;

/// Whether a cycle is due before the trigger, because spans have taken
/// `fresh_bytes` that were not in memory and a cycle, which may find dead
/// objects whose pages can be used again, costs at most a twentieth of those
/// page faults. The last cycle's marking took `mark_nanos`.
///
/// # Examples
///
/// ```
/// use mallocgc::collect::pacer::cheaper_than_faults;
/// assert!(cheaper_than_faults(64 << 20, 256 << 20, 50_000)); // 16 ms of faults
/// assert!(!cheaper_than_faults(64 << 20, 256 << 20, 50_000_000)); // much to mark
/// assert!(!cheaper_than_faults(16 << 20, 1 << 30, 50_000)); // hardly any growth
/// ```
pub fn cheaper_than_faults(fresh_bytes: u64, live_bytes: u64, mark_nanos: u64) -> bool {
    live_bytes >= EARLY_FROM_BYTES
        && fresh_bytes >= FRESH_MIN_BYTES.max(live_bytes / FRESH_PART_OF_LIVE)
        && fresh_bytes / 1000 * FAULT_PICOS_PER_BYTE / AVOIDANCE_PARTS > mark_nanos + CYCLE_NANOS
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: PacerSettings = PacerSettings {
        gc_percent: Some(100),
        min_heap_bytes: 4 << 20,
        heap_limit_bytes: u64::MAX,
    };

    #[test]
    fn goal_is_live_grown_by_percent_and_never_below_the_minimum() {
        for live in [0, 1, 1 << 20, 3 << 20, 100 << 20, 1 << 50] {
            for percent in [0, 10, 50, 100, 400] {
                let settings = PacerSettings { gc_percent: Some(percent), ..SETTINGS };
                let goal = settings.pace(live).goal_bytes;
                let exact = live as f64 * (1.0 + f64::from(percent) / 100.0);
                let floor = (4u64 << 20) as f64 * f64::from(percent) / 100.0;
                let expected = exact.max(floor).min(u64::MAX as f64);
                assert!((goal as f64 - expected).abs() <= expected / 1e6 + 2.0, "{live} {percent}");
            }
        }
    }

    #[test]
    fn off_never_triggers() {
        let settings = PacerSettings { gc_percent: None, ..SETTINGS };
        assert_eq!(settings.pace(1 << 30).trigger_bytes, u64::MAX);
    }

    #[test]
    fn goal_stays_below_the_limit_unless_live_is_above() {
        let settings = PacerSettings { heap_limit_bytes: 64 << 20, ..SETTINGS };
        assert!(settings.pace(50 << 20).goal_bytes < 64 << 20);
        assert_eq!(settings.pace(80 << 20).goal_bytes, 80 << 20);
    }
}
