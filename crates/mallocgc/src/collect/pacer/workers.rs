//! Who marks beside the mutators, and on how many processors.
//!
//! A quarter of the processors' time belongs to marking. *Dedicated* workers mark until
//! the cycle ends. Where a whole number of them is too far from a quarter, *fractional*
//! ones mark for a share of the time on each remaining processor. *Idle* workers take
//! what mutators leave unused, and stop when it is wanted back.
//!
//! After Go's `mgcpacer.go` (`startCycle`, `idleMarkWorkers`; issue #44163).
//!
//! Not here: starting threads, and what a worker does.

#![forbid(unsafe_code)]

/// One part of this many is the processors' time that marking has, beside assists.
/// Go's `gcBackgroundUtilization` is 1/4.
pub const BACKGROUND_PARTS: u64 = 4;

/// The same as a fraction.
pub const BACKGROUND_UTILIZATION: f64 = 1.0 / BACKGROUND_PARTS as f64;

/// Percent by which dedicated workers alone may miss the quarter.
const ROUNDING_PERCENT: u32 = 30;

/// Percent of its share after which a fractional worker stops: more than 100, or
/// it would stop as soon as it has started.
const FRACTIONAL_STOP_PERCENT: u64 = 120;

/// Why a cycle runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The heap has reached the trigger, or a program asked.
    Demand,
    /// A timer: the program is idle and shall stay so.
    Timer,
}

/// The workers of a cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Workers {
    /// Processors of the cycle; one at least.
    pub processors: u32,
    /// Workers that mark until the cycle ends.
    pub dedicated: u32,
    /// Quarters of processors that fractional workers must supply together, less
    /// than four.
    pub fractional_quarters: u32,
    /// Idle workers that may run at a time.
    pub idle_limit: u32,
}

impl Workers {
    /// The workers for a number of processors.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::collect::pacer::workers::{Reason, Workers};
    /// let workers = Workers::new(8, Reason::Demand);
    /// assert_eq!((workers.dedicated, workers.fractional_quarters), (2, 0));
    /// let workers = Workers::new(6, Reason::Demand); // a quarter is one and a half
    /// assert_eq!((workers.dedicated, workers.fractional_quarters), (1, 2));
    /// ```
    pub const fn new(processors: u32, reason: Reason) -> Workers {
        let processors = if processors == 0 { 1 } else { processors };
        // In quarters of a processor, of which marking wants one for each processor.
        let parts = BACKGROUND_PARTS as u32;
        let wanted = processors;
        let mut dedicated = wanted / parts + (wanted % parts >= parts / 2) as u32;
        let mut fractional_quarters = 0;
        let miss = wanted.abs_diff(dedicated.saturating_mul(parts));
        if miss as u64 * 100 > wanted as u64 * ROUNDING_PERCENT as u64 {
            dedicated = wanted / parts;
            fractional_quarters = wanted % parts;
        }
        let idle_limit = match reason {
            Reason::Demand => processors - dedicated,
            // Fractional workers run only where something else does: one idle
            // worker sees to it that the cycle ends.
            Reason::Timer => (dedicated == 0) as u32,
        };
        Workers { processors, dedicated, fractional_quarters, idle_limit }
    }

    /// The share of the time that a fractional worker has on each processor.
    pub fn fractional_share(&self) -> f64 {
        f64::from(self.fractional_quarters) / (f64::from(self.processors) * BACKGROUND_PARTS as f64)
    }

    /// Whether a processor whose fractional worker has marked for `worked_nanos` of this
    /// cycle's `elapsed_nanos` should let it mark now.
    pub fn fractional_worker_is_due(&self, worked_nanos: u64, elapsed_nanos: u64) -> bool {
        self.fractional_quarters != 0 && !self.has_worked(worked_nanos, elapsed_nanos, 100)
    }

    /// Whether it should stop.
    pub fn fractional_worker_is_done(&self, worked_nanos: u64, elapsed_nanos: u64) -> bool {
        self.has_worked(worked_nanos, elapsed_nanos, FRACTIONAL_STOP_PERCENT)
    }

    /// More than so many percent of its share.
    fn has_worked(&self, worked_nanos: u64, elapsed_nanos: u64, percent: u64) -> bool {
        let quarters = u128::from(self.processors) * u128::from(BACKGROUND_PARTS);
        let worked = u128::from(worked_nanos) * 100 * quarters;
        let share = u128::from(elapsed_nanos) * u128::from(percent);
        worked > share * u128::from(self.fractional_quarters)
    }
}

/// How many idle workers run, and how many may: one word, so that the two can be changed
/// together by one exchange. A value; who shares it keeps [`bits`](Self::bits) in an atomic.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct IdleWorkers {
    running: u32,
    limit: u32,
}

impl IdleWorkers {
    /// None runs, none may.
    pub const NONE: IdleWorkers = IdleWorkers { running: 0, limit: 0 };

    /// Both numbers in one word.
    pub const fn bits(self) -> u64 {
        self.running as u64 | (self.limit as u64) << 32
    }

    /// The numbers in a word that [`bits`](Self::bits) made.
    pub const fn from_bits(bits: u64) -> IdleWorkers {
        IdleWorkers { running: bits as u32, limit: (bits >> 32) as u32 }
    }

    /// Another limit. Workers above it go on; it keeps new ones from starting.
    pub const fn with_limit(self, limit: u32) -> IdleWorkers {
        IdleWorkers { limit, ..self }
    }

    /// Whether one more may start.
    pub const fn wants_more(self) -> bool {
        self.running < self.limit
    }

    /// One more runs; `None` if it may not.
    pub const fn try_start(self) -> Option<IdleWorkers> {
        if !self.wants_more() {
            return None;
        }
        Some(IdleWorkers { running: self.running + 1, ..self })
    }

    /// One less runs.
    ///
    /// # Panics
    ///
    /// If none ran.
    pub const fn stop(self) -> IdleWorkers {
        assert!(self.running > 0, "no idle worker runs");
        IdleWorkers { running: self.running - 1, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn background_workers_have_about_a_quarter() {
        for processors in 1..=256 {
            let workers = Workers::new(processors, Reason::Demand);
            let supplied =
                f64::from(workers.dedicated) + workers.fractional_share() * f64::from(processors);
            let error = supplied / (f64::from(processors) * BACKGROUND_UTILIZATION) - 1.0;
            assert!(error.abs() <= 0.3, "{processors} processors: {workers:?}");
            let fractional = matches!(processors, 1..=3 | 6);
            assert_eq!(workers.fractional_quarters != 0, fractional, "{workers:?}");
            assert!(!fractional || error.abs() < 1e-9, "{workers:?}");
        }
    }

    #[test]
    fn the_share_is_kept_by_a_worker_that_obeys() {
        for processors in [1, 2, 3, 6] {
            let workers = Workers::new(processors, Reason::Demand);
            let (mut worked, mut running) = (0, false);
            for elapsed in 1..=1_000_000 {
                running = match running {
                    false => workers.fractional_worker_is_due(worked, elapsed),
                    true => !workers.fractional_worker_is_done(worked, elapsed),
                };
                worked += u64::from(running);
            }
            let share = worked as f64 / 1e6;
            let wanted = workers.fractional_share();
            assert!((wanted..wanted * 1.21).contains(&share), "{processors}: {share}");
        }
    }

    #[test]
    fn a_timers_cycle_ends_and_leaves_idle_processors_alone() {
        for processors in 1..=64 {
            let workers = Workers::new(processors, Reason::Timer);
            assert_eq!(workers.idle_limit + workers.dedicated.min(1), 1, "{workers:?}");
        }
    }

    #[test]
    fn idle_mark_worker_count_never_exceeds_its_limit() {
        let mut random = Random::new(7);
        let (mut idle, mut running, mut limit) = (IdleWorkers::NONE, 0u32, 0u32);
        for step in 0..10_000 {
            match random.below(8) {
                0 => {
                    limit = random.below(12) as u32;
                    idle = idle.with_limit(limit);
                }
                1..=3 if running > 0 => {
                    running -= 1;
                    idle = idle.stop();
                }
                _ => match idle.try_start() {
                    Some(started) => {
                        running += 1;
                        assert!(running <= limit, "step {step}");
                        idle = started;
                    }
                    None => assert!(running >= limit, "step {step}"),
                },
            }
            assert_eq!(idle.wants_more(), running < limit, "step {step}");
            assert_eq!(IdleWorkers::from_bits(idle.bits()), idle);
        }
    }
}
