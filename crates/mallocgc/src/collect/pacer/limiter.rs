//! The limiter: when collecting takes half of the processors' time, it is enough.
//!
//! Under a memory limit that the live objects hardly fit, cycle follows cycle and
//! mutators do nothing but assist. The limiter is a leaky bucket: the collector's
//! processor time fills it, the mutators' drains it. A full bucket
//! *limits*: no more assists, no pages given back by allocation, and the heap may pass the
//! memory limit, until mutators have had their time. So the collector has
//! half of the time at most, in a window of twice the bucket: one second of each
//! processor. The bucket never holds less than nothing: a quiet day is no credit.
//!
//! Time is what the caller says it is, in nanoseconds; a clock that runs back is ignored.
//! While marking, background workers are taken to have their quarter. What nobody used is
//! neither's time: else a thrashing thread on a machine of many processors went unseen.
//!
//! After Go's `mgclimit.go` (design #48409, idle time #52890).
//!
//! Protection: a plain value for one owner at a time.

#![forbid(unsafe_code)]

use super::workers::BACKGROUND_PARTS;

/// Nanoseconds of the bucket for each processor.
pub const CAPACITY_NANOS: u64 = 1_000_000_000;

/// Nanoseconds after which an update is due: a limit shall not outlast its reason.
pub const UPDATE_NANOS: u64 = 10_000_000;

/// What the collector does between two stops of the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It does not mark.
    Off,
    /// Background workers mark.
    Mark,
}

/// A leaky bucket of processor time.
///
/// # Invariants
///
/// 1. `fill_nanos` is at most `capacity_nanos`.
/// 2. `limiting` only if they are equal.
///
/// # Examples
///
/// ```
/// use mallocgc::collect::pacer::limiter::{Limiter, Phase};
/// const MILLI: u64 = 1_000_000;
/// let mut limiter = Limiter::new(0, 1);
/// limiter.begin_stop(0, Phase::Mark);
/// limiter.finish_stop(MILLI);
/// assert_eq!(limiter.fill_nanos(), MILLI); // nobody else ran
/// limiter.add_assist(1500 * MILLI);
/// limiter.update(2001 * MILLI); // two seconds: a quarter background, three quarters assists
/// assert!(limiter.limiting());
/// ```
#[derive(Clone, Debug)]
pub struct Limiter {
    fill_nanos: u64,
    capacity_nanos: u64,
    overflow_nanos: u64,
    limiting: bool,
    phase: Phase,
    stopped: bool,
    processors: u32,
    updated_nanos: u64,
    /// Since the last update.
    assist_nanos: u64,
    idle_nanos: u64,
}

impl Limiter {
    /// An empty bucket for a number of processors.
    pub fn new(now_nanos: u64, processors: u32) -> Limiter {
        Limiter {
            fill_nanos: 0,
            capacity_nanos: capacity(processors),
            overflow_nanos: 0,
            limiting: false,
            phase: Phase::Off,
            stopped: false,
            processors,
            updated_nanos: now_nanos,
            assist_nanos: 0,
            idle_nanos: 0,
        }
    }

    /// Whether the collector has had its half and must leave the processors to
    /// mutators.
    pub fn limiting(&self) -> bool {
        self.limiting
    }

    /// Processor nanoseconds in the bucket.
    pub fn fill_nanos(&self) -> u64 {
        self.fill_nanos
    }

    /// Processor nanoseconds that it can hold.
    pub fn capacity_nanos(&self) -> u64 {
        self.capacity_nanos
    }

    /// Processor nanoseconds by which the collector went above its half with the bucket
    /// full, all in all: what limiting could not prevent.
    pub fn overflow_nanos(&self) -> u64 {
        self.overflow_nanos
    }

    /// Mutators have assisted for so many nanoseconds.
    pub fn add_assist(&mut self, nanos: u64) {
        self.assist_nanos = self.assist_nanos.saturating_add(nanos);
    }

    /// Processors were unused, or marking because they were, for so many nanoseconds.
    pub fn add_idle(&mut self, nanos: u64) {
        self.idle_nanos = self.idle_nanos.saturating_add(nanos);
    }

    /// Whether the last update is too long ago.
    pub fn is_due(&self, now_nanos: u64) -> bool {
        now_nanos.saturating_sub(self.updated_nanos) > UPDATE_NANOS
    }

    /// Fills or drains the bucket by what has happened since the last update.
    ///
    /// # Panics
    ///
    /// While the world is stopped.
    pub fn update(&mut self, now_nanos: u64) {
        assert!(!self.stopped, "limiter updated while the world is stopped");
        let Some(elapsed) = self.advance(now_nanos) else { return };
        let background = match self.phase {
            Phase::Off => 0,
            Phase::Mark => elapsed / u128::from(BACKGROUND_PARTS),
        };
        let collector = background + u128::from(core::mem::take(&mut self.assist_nanos));
        // Background workers are a part of all time, so idle time is taken off last.
        let used = elapsed.saturating_sub(u128::from(core::mem::take(&mut self.idle_nanos)));
        self.account(collector, used.saturating_sub(collector));
    }

    /// The world stops, to begin or to end marking.
    ///
    /// # Panics
    ///
    /// If it is stopped, or `next` is the phase that already is.
    pub fn begin_stop(&mut self, now_nanos: u64, next: Phase) {
        assert!(self.phase != next, "already {next:?}");
        self.update(now_nanos);
        self.phase = next;
        self.stopped = true;
    }

    /// The world starts. While it was stopped all processors' time was the collector's.
    ///
    /// # Panics
    ///
    /// If it was not stopped.
    pub fn finish_stop(&mut self, now_nanos: u64) {
        assert!(self.stopped, "the world was not stopped");
        self.stopped = false;
        if let Some(elapsed) = self.advance(now_nanos) {
            self.account(elapsed, 0);
        }
    }

    /// The world stood from `begin_nanos` to `end_nanos` for a whole cycle: all
    /// processors' time was the collector's, and before that the mutators'.
    ///
    /// # Panics
    ///
    /// While the world is stopped.
    pub fn add_stopped_cycle(&mut self, begin_nanos: u64, end_nanos: u64) {
        self.update(begin_nanos);
        if let Some(elapsed) = self.advance(end_nanos) {
            self.account(elapsed, 0);
        }
    }

    /// How long the next cycle, which will stop the world for `cycle_nanos`, must wait so that
    /// the bucket has room for it; not longer than it takes, where that is more than the bucket holds.
    /// Mutators then have had half of the time.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::collect::pacer::limiter::Limiter;
    /// const MILLI: u64 = 1_000_000;
    /// let mut limiter = Limiter::new(0, 4);
    /// limiter.add_stopped_cycle(0, 900 * MILLI);
    /// assert_eq!(limiter.hold_nanos(60 * MILLI), 0);
    /// assert_eq!(limiter.hold_nanos(130 * MILLI), 30 * MILLI);
    /// assert_eq!(limiter.hold_nanos(3000 * MILLI), 2900 * MILLI);
    /// ```
    pub fn hold_nanos(&self, cycle_nanos: u64) -> u64 {
        let processors = u64::from(self.processors.max(1));
        let full = (self.fill_nanos / processors).saturating_add(cycle_nanos);
        full.saturating_sub(self.capacity_nanos / processors).min(cycle_nanos)
    }

    /// Another number of processors. What does not fit into a smaller bucket is no
    /// overflow: nobody worked for it.
    ///
    /// # Panics
    ///
    /// While the world is stopped.
    pub fn resize(&mut self, now_nanos: u64, processors: u32) {
        self.update(now_nanos);
        self.processors = processors;
        let shrinks_below = capacity(processors) < self.fill_nanos;
        self.capacity_nanos = capacity(processors);
        self.fill_nanos = self.fill_nanos.min(self.capacity_nanos);
        self.limiting &= self.fill_nanos == self.capacity_nanos;
        self.limiting |= shrinks_below;
    }

    /// Processor nanoseconds since the last update.
    fn advance(&mut self, now_nanos: u64) -> Option<u128> {
        let elapsed = now_nanos.checked_sub(self.updated_nanos)?;
        self.updated_nanos = now_nanos;
        Some(u128::from(elapsed) * u128::from(self.processors))
    }

    /// The bucket itself. Equal times leave everything as it is.
    fn account(&mut self, collector_nanos: u128, mutator_nanos: u128) {
        if let Some(drained) = mutator_nanos.checked_sub(collector_nanos) {
            let fill = u128::from(self.fill_nanos).saturating_sub(drained);
            // At most what it was.
            self.fill_nanos = fill as u64;
            self.limiting &= drained == 0;
            return;
        }
        let filled = collector_nanos - mutator_nanos + u128::from(self.fill_nanos);
        let over = filled.saturating_sub(u128::from(self.capacity_nanos));
        // At most the capacity.
        self.fill_nanos = (filled - over) as u64;
        self.limiting = self.fill_nanos == self.capacity_nanos;
        let over = u64::try_from(over).unwrap_or(u64::MAX);
        self.overflow_nanos = self.overflow_nanos.saturating_add(over);
    }
}

fn capacity(processors: u32) -> u64 {
    u64::from(processors) * CAPACITY_NANOS
}

#[cfg(test)]
mod tests;
