//! How much free memory to give back to the system, and when.
//!
//! Giving back and touching again costs about 0.45 ns a byte, ten times as much as
//! clearing; keeping costs the rest of the machine. So what will be used again soon stays, and
//! what will not goes within two seconds. Three estimates of what "soon" needs are added up:
//!
//! - **The recent peak.** What was in use at the highest point of the last second,
//!   and is not now, may be wanted again: collections free in bursts what is
//!   then allocated step by step. Cycles shorter than a second live off this.
//! - **The trend.** When the lowest use of the last half second lies above that of the
//!   half second before, memory is being taken steadily, as between two collections
//!   that are seconds apart. Ten seconds of it stay.
//! - **A little slack**, 4 MiB or a part in 32 of what is in use, whichever is more.
//!
//! What is dirty and free beyond that is surplus. It drains exponentially, in 0.2 s
//! to a third, but never faster than 4 GiB/s: a quarter of a processor at the cost of
//! the call. So of a spike of less than 4 GiB hardly anything is left two seconds after its end.
//!
//! All of that takes one percent of the processors in the long run: [`Budget`] pays for it
//! and saves up for ten seconds, so that a spike after quiet goes at once and heaps whose
//! use swings for ever do not pay more than that.
//!
//! All of it is arithmetic on a [`Reading`]; the caller has the clock, the thread and
//! the pages. An idle heap has no surplus and asks for no further reading.
//!
//! Not here: which pages (`pages::take_dirty`), the call (`os::Reservation::decommit`).

#![forbid(unsafe_code)]

/// The grain of the history, and the time between readings while there is a surplus to
/// come.
const SLOT_NANOS: u64 = 100_000_000;

/// Slots of history: a second, the time after which memory counts as not reused.
const SLOTS: usize = 10;

/// The history in two halves, for the trend.
const HALF: usize = SLOTS / 2;

/// How long a trend is expected to go on.
const TREND_NANOS: u64 = 10_000_000_000;

/// The surplus falls to a third in this time.
const DRAIN_NANOS: u64 = 200_000_000;

/// The least and the most that leave in a second. At 0.065 ns a byte for small pages the most
/// takes 28 % of a processor.
const LEAST_PER_SECOND: u64 = 256 << 20;
const MOST_PER_SECOND: u64 = 4 << 30;

/// Free memory that stays in any case: this, or a part of what is in use. With tables and
/// span records as for ten times as much (9 %) a heap of 100 MiB is then within a fifth of what lives.
const SLACK_BYTES: usize = 4 << 20;
const SLACK_PART_OF_USE: usize = 32;

/// The share of each processor's time that giving back may take, as one part of so many.
const BUDGET_PARTS: u64 = 100;

/// For so long the budget is saved up: enough for a spike of 3 GiB on two processors.
const BUDGET_SAVED_NANOS: u64 = 10_000_000_000;

/// What giving back a mebibyte is taken to cost until some was: 0.065 ns a byte.
const FIRST_NANOS_PER_MIB: u64 = 68_000;

/// The heap's pages at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// `os::now_nanos`.
    pub now_nanos: u64,
    /// Bytes of pages that spans have.
    pub in_use_bytes: usize,
    /// The most that was in use since the last reading.
    pub in_use_peak_bytes: usize,
    /// Bytes of free pages with memory behind them.
    pub dirty_bytes: usize,
}

/// What to do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Release {
    /// Bytes to give back, of the dirty ones.
    pub bytes: usize,
    /// When to read again; `None`: not before pages are freed and
    /// [`worth_reading`] says so.
    pub next_nanos: Option<u64>,
}

/// Whether so much free memory may hold a surplus. For the moment when pages are freed
/// and nobody is about to read.
pub fn worth_reading(dirty_bytes: usize, in_use_bytes: usize) -> bool {
    dirty_bytes > slack(in_use_bytes)
}

fn slack(in_use_bytes: usize) -> usize {
    SLACK_BYTES.max(in_use_bytes / SLACK_PART_OF_USE)
}

/// A tenth of a second of history.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Which tenth since the clock's beginning; `u64::MAX` when never written.
    number: u64,
    peak_bytes: usize,
    floor_bytes: usize,
}

/// Decides how much of one heap's memory to give back.
#[derive(Clone, Debug)]
pub struct Scavenger {
    slots: [Slot; SLOTS],
    /// When something was last decided; 0 before that.
    last_nanos: u64,
}

impl Default for Scavenger {
    fn default() -> Scavenger {
        Scavenger::new()
    }
}

impl Scavenger {
    /// Without history.
    pub const fn new() -> Scavenger {
        const NEVER: Slot = Slot { number: u64::MAX, peak_bytes: 0, floor_bytes: 0 };
        Scavenger { slots: [NEVER; SLOTS], last_nanos: 0 }
    }

    /// Takes a reading and decides.
    pub fn decide(&mut self, reading: Reading) -> Release {
        let number = reading.now_nanos / SLOT_NANOS;
        self.record(number, &reading);
        // A long pause since the last decision gives no right to a large step.
        let elapsed = reading.now_nanos.saturating_sub(self.last_nanos).min(SLOT_NANOS);
        self.last_nanos = reading.now_nanos;
        if !worth_reading(reading.dirty_bytes, reading.in_use_bytes) {
            return Release { bytes: 0, next_nanos: None };
        }
        let kept = slack(reading.in_use_bytes)
            .saturating_add(self.peak_bytes(number).saturating_sub(reading.in_use_bytes))
            .saturating_add(self.trend_bytes(number));
        let surplus = reading.dirty_bytes.saturating_sub(kept) as u64;
        let least = per(LEAST_PER_SECOND, elapsed, 1_000_000_000);
        let most = per(MOST_PER_SECOND, elapsed, 1_000_000_000);
        let bytes = surplus.min(per(surplus, elapsed, DRAIN_NANOS).clamp(least, most));
        Release {
            bytes: bytes as usize,
            next_nanos: Some(reading.now_nanos.saturating_add(SLOT_NANOS)),
        }
    }

    /// Decides to give all back, whatever may be needed soon, and forgets the past, so
    /// that what is freed next is not kept for its sake.
    pub fn release_all(&mut self, reading: Reading) -> Release {
        *self = Scavenger::new();
        self.last_nanos = reading.now_nanos;
        Release { bytes: reading.dirty_bytes, next_nanos: None }
    }

    fn record(&mut self, number: u64, reading: &Reading) {
        let in_use = reading.in_use_bytes;
        let peak = in_use.max(reading.in_use_peak_bytes);
        let slot = &mut self.slots[(number % SLOTS as u64) as usize];
        if slot.number == number {
            slot.peak_bytes = slot.peak_bytes.max(peak);
            slot.floor_bytes = slot.floor_bytes.min(in_use);
        } else {
            *slot = Slot { number, peak_bytes: peak, floor_bytes: in_use };
        }
    }

    /// The slots written in the tenths from `newest - last` to `newest - first`.
    fn history(&self, newest: u64, first: usize, last: usize) -> impl Iterator<Item = &Slot> {
        let ages = first as u64..=last as u64;
        self.slots.iter().filter(move |slot| {
            newest.checked_sub(slot.number).is_some_and(|age| ages.contains(&age))
        })
    }

    /// The most in use within the history.
    fn peak_bytes(&self, newest: u64) -> usize {
        self.history(newest, 0, SLOTS - 1).map(|slot| slot.peak_bytes).max().unwrap_or(0)
    }

    /// What a steady growth of use will take.
    fn trend_bytes(&self, newest: u64) -> usize {
        let floor =
            |first, last| self.history(newest, first, last).map(|slot| slot.floor_bytes).min();
        let (Some(recent), Some(earlier)) = (floor(0, HALF - 1), floor(HALF, SLOTS - 1)) else {
            return 0;
        };
        let rise = recent.saturating_sub(earlier) as u64;
        per(rise, TREND_NANOS, HALF as u64 * SLOT_NANOS) as usize
    }
}

/// Pays for giving memory back, with processor time.
///
/// What a call will cost is taken from those before; what it did cost is spent,
/// and may be more than there was: then nothing is given back until that is made up for.
///
/// # Examples
///
/// ```
/// use mallocgc::heap::scavenge::Budget;
/// let mut budget = Budget::new(0, 2);
/// // Two processors save up 0.2 s in ten seconds.
/// assert_eq!(budget.allow(0, 1 << 30), 1 << 30);
/// budget.spend(1 << 30, 300_000_000);
/// assert_eq!(budget.allow(4_000_000_000, 1 << 30), 0);
/// assert!(budget.allow(6_000_000_000, 1 << 30) > 0);
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    /// Processor nanoseconds, below zero after a call that cost more than there was.
    credit_nanos: i64,
    most_nanos: i64,
    processors: u64,
    updated_nanos: u64,
    nanos_per_mib: u64,
}

impl Budget {
    /// With everything saved up, for a number of processors.
    pub fn new(now_nanos: u64, processors: u32) -> Budget {
        let processors = u64::from(processors);
        let most_nanos = (BUDGET_SAVED_NANOS / BUDGET_PARTS * processors) as i64;
        Budget {
            credit_nanos: most_nanos,
            most_nanos,
            processors,
            updated_nanos: now_nanos,
            nanos_per_mib: FIRST_NANOS_PER_MIB,
        }
    }

    /// As many of `bytes` as can be paid for now.
    pub fn allow(&mut self, now_nanos: u64, bytes: usize) -> usize {
        let elapsed = now_nanos.saturating_sub(self.updated_nanos);
        self.updated_nanos = self.updated_nanos.max(now_nanos);
        let earned = per(elapsed, self.processors, BUDGET_PARTS);
        let earned = i64::try_from(earned).unwrap_or(i64::MAX);
        self.credit_nanos = self.credit_nanos.saturating_add(earned).min(self.most_nanos);
        let credit = u64::try_from(self.credit_nanos).unwrap_or(0);
        let payable = per(credit, 1 << 20, self.nanos_per_mib);
        bytes.min(usize::try_from(payable).unwrap_or(usize::MAX))
    }

    /// Giving back `bytes` took `nanos` of processor time.
    pub fn spend(&mut self, bytes: usize, nanos: u64) {
        self.credit_nanos = self.credit_nanos.saturating_sub_unsigned(nanos);
        if bytes != 0 {
            // The mean of this and of all before, the last for a half.
            let cost = per(nanos, 1 << 20, bytes as u64);
            self.nanos_per_mib = (self.nanos_per_mib / 2).saturating_add(cost / 2).max(1);
        }
    }
}

/// `amount * nanos / period_nanos`.
fn per(amount: u64, nanos: u64, period_nanos: u64) -> u64 {
    let product = u128::from(amount) * u128::from(nanos) / u128::from(period_nanos);
    u64::try_from(product).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    const MIB: usize = 1 << 20;
    const GIB: usize = 1 << 30;
    const MILLI: u64 = 1_000_000;
    const SECOND: u64 = 1_000_000_000;

    /// A heap's pages, a clock, and a thread that does what is decided.
    struct Simulation {
        scavenger: Scavenger,
        now: u64,
        in_use: usize,
        peak: usize,
        dirty: usize,
        next: Option<u64>,
        /// Bytes that had to be touched afresh.
        faulted: usize,
        released: usize,
        readings: usize,
    }

    impl Simulation {
        fn new() -> Simulation {
            Simulation {
                scavenger: Scavenger::new(),
                now: 77 * SECOND + 12_345,
                in_use: 0,
                peak: 0,
                dirty: 0,
                next: None,
                faulted: 0,
                released: 0,
                readings: 0,
            }
        }

        fn set_in_use(&mut self, bytes: usize) {
            if bytes > self.in_use {
                let wanted = bytes - self.in_use;
                let reused = wanted.min(self.dirty);
                self.dirty -= reused;
                self.faulted += wanted - reused;
            } else {
                self.dirty += self.in_use - bytes;
            }
            self.in_use = bytes;
            self.peak = self.peak.max(bytes);
            if self.next.is_none() && worth_reading(self.dirty, self.in_use) {
                self.next = Some(self.now);
            }
        }

        fn reading(&mut self) -> Reading {
            let peak = core::mem::replace(&mut self.peak, self.in_use);
            Reading {
                now_nanos: self.now,
                in_use_bytes: self.in_use,
                in_use_peak_bytes: peak,
                dirty_bytes: self.dirty,
            }
        }

        fn obey(&mut self, release: Release) {
            assert!(release.bytes <= self.dirty, "{release:?} of {}", self.dirty);
            self.dirty -= release.bytes;
            self.released += release.bytes;
            self.next = release.next_nanos;
            self.readings += 1;
        }

        /// Lets time pass; `use_at` says what is in use so many nanoseconds later.
        fn run(&mut self, nanos: u64, mut use_at: impl FnMut(u64) -> usize) {
            let begin = self.now;
            while self.now - begin < nanos {
                self.now += 2 * MILLI;
                self.set_in_use(use_at(self.now - begin));
                if self.next.is_some_and(|next| next <= self.now) {
                    let reading = self.reading();
                    let release = self.scavenger.decide(reading);
                    self.obey(release);
                }
            }
        }

        fn counts(&mut self) -> (usize, usize) {
            (core::mem::take(&mut self.faulted), core::mem::take(&mut self.released))
        }
    }

    /// Use that rises from `low` to `high` in a period, then falls at once.
    fn saw(low: usize, high: usize, period: u64) -> impl Fn(u64) -> usize + Copy {
        move |nanos| low + per((high - low) as u64, nanos % period, period) as usize
    }

    #[test]
    fn a_spike_is_given_back_within_two_seconds() {
        for spike in [64 * MIB, 512 * MIB, GIB, 3 * GIB] {
            for live in [0, 10 * MIB] {
                let mut heap = Simulation::new();
                heap.run(SECOND, |_| live + spike);
                heap.run(2 * SECOND, |_| live);
                assert!(heap.dirty <= 8 * MIB + spike / 50, "{} left of {spike}", heap.dirty);
                heap.run(SECOND, |_| live);
                assert!(heap.dirty <= 6 * MIB && heap.dirty + heap.in_use < 50 * MIB);
                assert_eq!(heap.next, None, "nothing more to do");
            }
        }
    }

    #[test]
    fn blocks_that_die_one_by_one_are_gone_three_seconds_after_the_last() {
        let mut heap = Simulation::new();
        heap.run(3 * SECOND, |nanos| (1 + nanos as usize / 7 % 16) * 64 * MIB);
        heap.run(400 * MILLI, |nanos| (16 - nanos as usize / 25_000_000) * 64 * MIB);
        heap.run(3 * SECOND, |_| 0);
        assert!(heap.dirty < 10 * MIB, "{} left", heap.dirty);
    }

    #[test]
    fn steady_cycles_keep_their_memory() {
        for millis in [4, 10, 33, 50, 100, 170, 300, 500, 700, 900] {
            for (low, high) in [(4, 64), (100, 200), (1000, 2000), (10, 4000)] {
                let mut heap = Simulation::new();
                let cycle = saw(low * MIB, high * MIB, millis * MILLI);
                heap.run(3 * SECOND, cycle);
                heap.counts();
                heap.run(20 * SECOND, cycle);
                let (faulted, released) = heap.counts();
                // A peak between two instants of the simulation may be a little higher.
                let noise = (high - low) * MIB / 100;
                assert!(faulted <= noise && released <= noise, "{faulted} again at {millis} ms");
            }
        }
    }

    #[test]
    fn slow_cycles_keep_most_of_their_memory() {
        for seconds in [2, 3, 5, 8] {
            let mut heap = Simulation::new();
            let cycle = saw(GIB, 2 * GIB, seconds * SECOND);
            heap.run(3 * seconds * SECOND, cycle);
            heap.counts();
            heap.run(5 * seconds * SECOND, cycle);
            let (faulted, _) = heap.counts();
            assert!(faulted <= 5 * GIB / 10, "{faulted} in five cycles of {seconds} s");
        }
    }

    #[test]
    fn an_old_spike_leaves_beside_steady_cycles() {
        for millis in [20, 100, 400, 900] {
            let mut heap = Simulation::new();
            let cycle = saw(50 * MIB, 100 * MIB, millis * MILLI);
            heap.run(2 * SECOND, cycle);
            heap.run(SECOND / 2, |_| 2 * GIB);
            heap.run(4 * SECOND, cycle);
            let bound = 50 * MIB + slack(100 * MIB) + 50 * MIB;
            assert!(heap.dirty <= bound, "{} MiB left at {millis} ms", heap.dirty / MIB);
            heap.run(3 * SECOND, cycle);
            heap.counts();
            heap.run(10 * SECOND, cycle);
            let (faulted, released) = heap.counts();
            assert!(
                faulted < 10 * MIB && released < 10 * MIB,
                "{faulted}, {released}: {millis} ms"
            );
        }
    }

    #[test]
    fn the_rate_is_bounded() {
        let mut heap = Simulation::new();
        heap.run(SECOND, |_| 64 * GIB);
        let mut seconds = 0;
        loop {
            heap.counts();
            heap.run(SECOND, |_| MIB);
            let (_, released) = heap.counts();
            let bound = (MOST_PER_SECOND + MOST_PER_SECOND / 10) as usize;
            assert!(released <= bound, "{released} in a second");
            if heap.next.is_none() {
                break;
            }
            seconds += 1;
        }
        assert!((16..=20).contains(&seconds), "{seconds} s for 64 GiB");
    }

    #[test]
    fn a_late_reader_takes_no_giant_step() {
        let mut heap = Simulation::new();
        heap.run(SECOND, |_| 8 * GIB);
        heap.set_in_use(0);
        heap.now += 3600 * SECOND;
        let reading = heap.reading();
        heap.scavenger.decide(reading);
        heap.now += 3600 * SECOND;
        let reading = heap.reading();
        let release = heap.scavenger.decide(reading);
        assert!(release.bytes > 0 && release.bytes as u64 <= MOST_PER_SECOND / 10, "{release:?}");
    }

    #[test]
    fn a_smaller_live_heap_gives_the_rest_back() {
        let mut heap = Simulation::new();
        heap.run(2 * SECOND, |_| GIB);
        heap.run(3 * SECOND, |_| GIB / 4);
        assert!(heap.dirty <= slack(GIB / 4) + MIB, "{}", heap.dirty);
    }

    #[test]
    fn an_idle_heap_asks_for_nothing() {
        let mut heap = Simulation::new();
        heap.run(SECOND, |_| 100 * MIB);
        heap.run(5 * SECOND, |_| 20 * MIB);
        let before = heap.readings;
        heap.run(60 * SECOND, |_| 20 * MIB);
        assert_eq!((heap.readings, heap.next), (before, None));
    }

    #[test]
    fn everything_goes_on_request() {
        let mut heap = Simulation::new();
        heap.run(SECOND, |_| GIB);
        heap.set_in_use(100 * MIB);
        let reading = heap.reading();
        let release = heap.scavenger.release_all(reading);
        heap.obey(release);
        assert_eq!((heap.dirty, heap.next), (0, None));
        // What was in use before is forgotten: new surplus goes quickly.
        heap.set_in_use(400 * MIB);
        heap.reading();
        heap.run(1200 * MILLI, |_| 100 * MIB);
        assert!(heap.dirty < 200 * MIB);
    }

    #[test]
    fn random_programs_never_release_more_than_there_is_and_end_small() {
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let mut heap = Simulation::new();
            for _ in 0..20 {
                let low = random.below(500) as usize * MIB;
                let high = low + (1 + random.below(1500) as usize) * MIB;
                let period = (2 + random.exponential(300)) * MILLI;
                heap.run(random.below(2000) * MILLI, saw(low, high, period));
                // The machine sleeps, or nobody reads.
                heap.now += random.below(2) * random.below(100) * SECOND;
            }
            heap.run(3 * SECOND, |_| 0);
            assert!(heap.dirty <= SLACK_BYTES, "seed {seed}: {}", heap.dirty);
            assert_eq!(heap.next, None, "seed {seed}");
        }
    }

    /// Gives back as fast as it may for `seconds`, at a cost; the nanoseconds spent.
    fn spend_all(budget: &mut Budget, from: u64, seconds: u64, nanos_per_mib: u64) -> u64 {
        let mut spent = 0;
        for tenth in 0..10 * seconds {
            let bytes = budget.allow(from + tenth * SECOND / 10, 400 * MIB);
            let nanos = bytes as u64 / MIB as u64 * nanos_per_mib;
            budget.spend(bytes, nanos);
            spent += nanos;
        }
        spent
    }

    #[test]
    fn giving_back_takes_one_percent_in_the_long_run() {
        for processors in [1, 2, 16] {
            for nanos_per_mib in [20_000, 68_000, 300_000, 2_000_000] {
                let mut budget = Budget::new(77 * SECOND, processors);
                let (seconds, parts) = (500, 100);
                let spent = spend_all(&mut budget, 77 * SECOND, seconds, nanos_per_mib);
                let earned = (seconds + 10) * SECOND * u64::from(processors) / parts;
                // One call too many, at the worst estimate.
                let wrong = 400 * nanos_per_mib;
                assert!(spent <= earned + wrong, "{spent} of {earned}, {nanos_per_mib}");
                let wanted = 10 * seconds * 400 * nanos_per_mib;
                assert!(spent * 10 >= earned.min(wanted) * 9, "{spent} of {earned}");
            }
        }
    }

    #[test]
    fn a_spike_after_quiet_is_paid_for_at_once() {
        // Of a gibibyte, at four times the usual cost, on one processor: 0.28 s.
        let mut budget = Budget::new(0, 1);
        let mut left = GIB;
        for tenth in 0..1000 {
            let bytes = budget.allow(60 * SECOND + tenth * SECOND / 10, left.min(100 * MIB));
            budget.spend(bytes, bytes as u64 / MIB as u64 * 4 * FIRST_NANOS_PER_MIB);
            left -= bytes;
            if tenth == 10 {
                assert!(left < GIB * 2 / 3, "{left}");
            }
        }
        assert_eq!(left, 0);
    }

    #[test]
    fn budgets_of_nonsense_overflow_nowhere() {
        for processors in [0, 1, u32::MAX] {
            let mut budget = Budget::new(u64::MAX, processors);
            for nanos in [0, 1, u64::MAX, 1, 0] {
                budget.allow(nanos, usize::MAX);
                budget.spend(usize::MAX, nanos);
                budget.spend(1, nanos);
                budget.spend(0, nanos);
            }
            assert_eq!(budget.allow(5, usize::MAX), 0);
        }
    }

    #[test]
    fn a_clock_that_stands_or_jumps_is_harmless() {
        let mut scavenger = Scavenger::new();
        let mut decide = |now_nanos| {
            scavenger.decide(Reading {
                now_nanos,
                in_use_bytes: 0,
                in_use_peak_bytes: 0,
                dirty_bytes: usize::MAX,
            })
        };
        decide(5 * SECOND);
        assert_eq!(decide(5 * SECOND).bytes, 0);
        assert_eq!(decide(4 * SECOND).bytes, 0);
        assert!(decide(u64::MAX).bytes as u64 <= MOST_PER_SECOND);
        decide(0);
    }
}
