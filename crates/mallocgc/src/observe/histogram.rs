//! How long things took: a histogram of nanoseconds in fixed memory.
//!
//! Buckets are exact up to 8 ns; above, each power of two is cut into
//! [`STEPS`] equal parts, so that a bucket is at most an eighth as wide as the
//! values in it are large. A quantile answers with the upper end of its
//! bucket: never too low, and too high by at most 12.5 %.
//!
//! Protection: every field is an atomic of its own. Recording is three relaxed
//! read-modify-writes, takes no lock and never allocates, so it may run while
//! the world is stopped. A snapshot taken beside recorders may miss values
//! being recorded; it counts only what it copied, so its own sums agree.

use crate::base::sync::{AtomicU64, Ordering::Relaxed};

/// Log2 of [`STEPS`].
const STEP_BITS: u32 = 3;

/// Buckets per power of two; the relative error is at most `1 / STEPS`.
pub const STEPS: usize = 1 << STEP_BITS;

/// Buckets that cover all of `u64`: the first [`STEPS`] hold one value each,
/// then [`STEPS`] for each power of two from `STEPS` up.
pub const BUCKETS: usize = STEPS + (64 - STEP_BITS as usize) * STEPS;

const _: () = assert!(bucket_of(u64::MAX) == BUCKETS - 1);

/// The bucket a value belongs to.
const fn bucket_of(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    // `value >> shift` has its top bit at STEP_BITS: it is STEPS + the step.
    shift as usize * STEPS + (value >> shift) as usize
}

/// The largest value of a bucket.
const fn bucket_max(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let shift = (bucket / STEPS - 1) as u32;
    let step = (bucket % STEPS + STEPS) as u64;
    // Ones below the step: the next bucket's first value, less one.
    (step << shift) | ((1 << shift) - 1)
}

/// Counts nanoseconds in buckets; recorded from any thread.
///
/// ```
/// use mallocgc::observe::Histogram;
///
/// let pauses = Histogram::new();
/// for nanos in [20_000, 30_000, 45_000, 1_000_000] {
///     pauses.record(nanos);
/// }
/// let seen = pauses.snapshot();
/// assert_eq!((seen.count(), seen.max()), (4, 1_000_000));
/// let median = seen.quantile(0.5);
/// assert!((30_000..=33_750).contains(&median));
/// ```
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    max: AtomicU64,
}

impl Histogram {
    /// A histogram that has seen nothing.
    pub fn new() -> Histogram {
        Histogram {
            buckets: core::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }

    /// Counts one duration.
    #[inline]
    pub fn record(&self, nanos: u64) {
        // Relaxed, all three: the numbers stand for themselves; no other
        // memory is read because of them.
        self.buckets[bucket_of(nanos)].fetch_add(1, Relaxed);
        self.sum.fetch_add(nanos, Relaxed);
        self.max.fetch_max(nanos, Relaxed);
    }

    /// Adds what another histogram has seen.
    pub fn merge(&self, other: &HistogramSnapshot) {
        for (mine, &theirs) in self.buckets.iter().zip(&other.buckets) {
            if theirs != 0 {
                // Relaxed here and below: as in `record`.
                mine.fetch_add(theirs, Relaxed);
            }
        }
        self.sum.fetch_add(other.sum, Relaxed);
        self.max.fetch_max(other.max, Relaxed);
    }

    /// A copy to ask questions of. Stops nobody and does not allocate (4 KiB
    /// on the stack).
    pub fn snapshot(&self) -> HistogramSnapshot {
        // Relaxed: recorders may run; see the file's header.
        let buckets = core::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed));
        HistogramSnapshot { buckets, sum: self.sum.load(Relaxed), max: self.max.load(Relaxed) }
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

/// What a [`Histogram`] had seen at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistogramSnapshot {
    buckets: [u64; BUCKETS],
    sum: u64,
    max: u64,
}

impl HistogramSnapshot {
    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Sum of the durations in nanoseconds, exact.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The longest duration in nanoseconds, exact; 0 when nothing was counted.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The duration in nanoseconds that the share `quantile` of all durations
    /// does not exceed: at least the true one, at most 12.5 % above it, never
    /// above [`max`](Self::max). 0 when nothing was counted.
    ///
    /// # Panics
    ///
    /// When `quantile` is not within 0 to 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::observe::Histogram;
    /// let histogram = Histogram::new();
    /// (1..=1000).for_each(|micros| histogram.record(1000 * micros));
    /// let seen = histogram.snapshot();
    /// assert!((990_000..=1_000_000).contains(&seen.quantile(0.99)));
    /// assert_eq!((seen.count(), seen.max()), (1000, 1_000_000));
    /// ```
    pub fn quantile(&self, quantile: f64) -> u64 {
        assert!((0.0..=1.0).contains(&quantile), "quantile {quantile} is not within 0 to 1");
        let count = self.count();
        // The rank counts from 1: quantile 0 is the least value.
        let rank = ((quantile * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut below = 0;
        for (bucket, &counted) in self.buckets.iter().enumerate() {
            below += counted;
            if counted != 0 && below >= rank {
                return bucket_max(bucket).min(self.max);
            }
        }
        0
    }

    /// Adds what another snapshot has seen.
    pub fn merge(&mut self, other: &HistogramSnapshot) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// The buckets that counted something, ascending: the largest duration
    /// that belongs to the bucket, and how many it counted.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let counted = self.buckets.iter().enumerate().filter(|&(_, &counted)| counted != 0);
        counted.map(|(bucket, &counted)| (bucket_max(bucket), counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Durations of every magnitude, repeatable.
    fn durations(seed: u64, count: usize) -> Vec<u64> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..count).map(|_| next() >> (next() % 60)).collect()
    }

    #[test]
    fn buckets_cover_every_number_without_gap() {
        assert_eq!(bucket_max(BUCKETS - 1), u64::MAX);
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(bucket_max(bucket)), bucket);
            if bucket + 1 < BUCKETS {
                assert_eq!(bucket_of(bucket_max(bucket) + 1), bucket + 1, "after {bucket}");
            }
        }
    }

    #[test]
    fn quantiles_agree_with_sorting() {
        for seed in 1..40 {
            let mut values = durations(seed * 7919, 1 + (seed as usize * 53) % 997);
            let histogram = Histogram::new();
            values.iter().for_each(|&value| histogram.record(value));
            values.sort_unstable();
            let seen = histogram.snapshot();
            for quantile in [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let rank = ((quantile * values.len() as f64).ceil() as usize).max(1);
                let exact = values[rank - 1];
                let answer = seen.quantile(quantile);
                let bound = exact as u128 + exact as u128 / 8;
                assert!(
                    answer >= exact && answer as u128 <= bound,
                    "seed {seed}, quantile {quantile}: {answer} for {exact}"
                );
            }
            assert_eq!(seen.quantile(1.0), seen.max());
            assert_eq!(seen.count(), values.len() as u64);
            assert_eq!(seen.sum(), values.iter().fold(0, |sum: u64, &v| sum.wrapping_add(v)));
        }
    }

    #[test]
    fn nothing_seen_answers_zero() {
        let seen = Histogram::new().snapshot();
        assert_eq!((seen.count(), seen.sum(), seen.max(), seen.quantile(0.5)), (0, 0, 0, 0));
        assert_eq!(seen.buckets().count(), 0);
    }

    #[test]
    fn merging_is_recording_both() {
        let (left, right, both) = (Histogram::new(), Histogram::new(), Histogram::new());
        for (index, nanos) in durations(5, 500).into_iter().enumerate() {
            let nanos = nanos >> 8; // so that the sums cannot overflow
            if index % 3 == 0 {
                left.record(nanos)
            } else {
                right.record(nanos)
            }
            both.record(nanos);
        }
        let mut merged = left.snapshot();
        merged.merge(&right.snapshot());
        assert_eq!(merged, both.snapshot());
        left.merge(&right.snapshot());
        assert_eq!(left.snapshot(), both.snapshot());
    }

    #[test]
    fn threads_lose_no_count() {
        let histogram = Histogram::new();
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let histogram = &histogram;
                scope.spawn(move || (0..5000).for_each(|n| histogram.record(n * (thread + 1))));
            }
        });
        let seen = histogram.snapshot();
        assert_eq!(seen.count(), 20_000);
        assert_eq!(seen.sum(), (1..=4).map(|t| t * 5000 * 4999 / 2).sum::<u64>());
        assert_eq!(seen.max(), 4 * 4999);
    }
}
