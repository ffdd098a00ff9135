//! Which allocations the profile samples: the arithmetic of Poisson sampling.
//!
//! Every allocated byte is a sampling point with probability `1 / rate`,
//! independent of all others; an object is sampled when one of its bytes is a
//! point. So an object of `size` bytes is sampled with probability
//! `1 - exp(-size / rate)`, and dividing by that ([`unskew`]) gives unbiased
//! counts for every size and every order of sizes. The origin drew thresholds
//! uniformly and always sampled objects of `rate` bytes and more, which
//! reported objects of just `rate` bytes 58 % too often.
//!
//! Gaps between points are exponential, hence memoryless: what is left of a
//! gap says nothing about the past. Each allocation cursor may therefore have a
//! gap of its own, throw it away, or draw a new one at any time, without bias;
//! that is what lets a cursor turn its gap into a limit ([`Countdown::cells`])
//! and allocate up to it without looking.
//!
//! Protection: plain values, owned by one mutator. Nothing here allocates.

/// Bytes between samples when nothing else is configured (512 KiB, as in the origin).
pub const DEFAULT_RATE: u64 = 512 << 10;

/// Never sample.
pub const RATE_OFF: u64 = 0;

/// Sample every allocation.
pub const RATE_EVERY: u64 = 1;

/// Draws the gaps between samples for one mutator.
///
/// ```
/// use mallocgc::observe::Sampler;
///
/// let mut sampler = Sampler::new(42, 512 << 10);
/// let gap = sampler.next_gap(); // this many bytes go by, the next one is a sampling point
/// assert_ne!(gap, sampler.next_gap());
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    rate: u64,
    random: Random,
}

impl Sampler {
    /// A sampler with a mean of `rate` bytes between samples; [`RATE_OFF`] never
    /// samples, [`RATE_EVERY`] samples everything. Equal seeds draw equal gaps.
    pub fn new(seed: u64, rate: u64) -> Sampler {
        Sampler { rate, random: Random(seed) }
    }

    /// Mean bytes between samples.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Takes over a changed rate. `true` when it is another one: then every gap
    /// drawn before is void, and must be drawn again.
    #[inline]
    pub fn set_rate(&mut self, rate: u64) -> bool {
        let changed = self.rate != rate;
        self.rate = rate;
        changed
    }

    /// Bytes before the next sampling point, `u64::MAX` for never.
    pub fn next_gap(&mut self) -> u64 {
        match self.rate {
            RATE_OFF => u64::MAX,
            RATE_EVERY => 0,
            // Rounding down is exact: the object is sampled when the point, a real
            // number, lies before its end, a whole number. The cast saturates.
            rate => (-self.random.unit().ln() * rate as f64) as u64,
        }
    }
}

/// What is left of a gap: bytes a cursor may hand out before it samples.
///
/// ```
/// use mallocgc::observe::{Countdown, Sampler};
///
/// let mut sampler = Sampler::new(7, 64 << 10);
/// let mut countdown = Countdown::new(&mut sampler);
/// let free = countdown.cells(48);      // cells to hand out without looking …
/// countdown.skip(free * 48);
/// assert!(countdown.samples(48, &mut sampler)); // … the next one is sampled.
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Countdown(u64);

impl Countdown {
    /// A countdown that starts with a fresh gap.
    pub fn new(sampler: &mut Sampler) -> Countdown {
        Countdown(sampler.next_gap())
    }

    /// Cells of `cell_size` bytes that may be handed out before the one to sample.
    #[inline]
    pub fn cells(self, cell_size: u64) -> u64 {
        self.0 / cell_size
    }

    /// `bytes` were handed out that held no sampling point.
    ///
    /// # Panics
    ///
    /// In debug builds when they did hold one.
    #[inline]
    pub fn skip(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.0, "{bytes} bytes skipped with {} to go", self.0);
        if self.0 != u64::MAX {
            self.0 = self.0.saturating_sub(bytes);
        }
    }

    /// Counts an object of `size` bytes; `true` when it is to be sampled, and
    /// then the next gap begins at its end.
    #[inline]
    pub fn samples(&mut self, size: u64, sampler: &mut Sampler) -> bool {
        if size <= self.0 {
            self.skip(size);
            return false;
        }
        self.0 = sampler.next_gap();
        true
    }
}

/// How many objects of `size` bytes a sampled one stands for at `rate`: 1 over
/// the probability of its being sampled. Exactly 1 for the rates 0 and 1.
///
/// ```
/// use mallocgc::observe::unskew;
///
/// assert_eq!(unskew(1024, 1), 1.0);
/// assert!((unskew(1024, 512 << 10) - 512.5).abs() < 0.01);
/// ```
pub fn unskew(size: u64, rate: u64) -> f64 {
    if rate <= RATE_EVERY || size == 0 {
        return 1.0;
    }
    // `exp_m1` keeps the digits that `1 - exp(…)` loses for small sizes.
    1.0 / -(-(size as f64) / rate as f64).exp_m1()
}

/// The wyrand generator: a Weyl sequence mixed by one wide multiplication.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        let wide = u128::from(self.0) * u128::from(self.0 ^ 0xe703_7ed1_a0b4_28db);
        (wide >> 64) as u64 ^ wide as u64
    }

    /// Uniform in (0, 1], in steps of 2⁻⁵³: its logarithm is finite.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    /// `(sampled, allocated)` objects per size, after `rounds` rounds of one object of each.
    fn interleave(sizes: &[u64], rate: u64, rounds: u64, cursors: Cursors) -> Vec<(u64, u64)> {
        let mut sampler = Sampler::new(rate ^ rounds, rate);
        let mut countdowns: Vec<_> = sizes.iter().map(|_| Countdown::new(&mut sampler)).collect();
        let mut seen = vec![(0, 0); sizes.len()];
        for _ in 0..rounds {
            for (index, &size) in sizes.iter().enumerate() {
                let cursor = match cursors {
                    Cursors::Shared => 0,
                    Cursors::OnePerSize => index,
                };
                seen[index].0 += u64::from(countdowns[cursor].samples(size, &mut sampler));
                seen[index].1 += 1;
            }
        }
        seen
    }

    #[derive(Clone, Copy, Debug)]
    enum Cursors {
        Shared,
        OnePerSize,
    }

    #[test]
    fn gaps_have_the_rate_as_mean_and_no_memory() {
        for rate in [512, 16 * KIB, 512 * KIB] {
            let mut sampler = Sampler::new(rate, rate);
            let gaps: Vec<u64> = (0..400_000).map(|_| sampler.next_gap()).collect();
            let mean = gaps.iter().sum::<u64>() as f64 / gaps.len() as f64;
            // Rounding down takes half a byte off.
            assert!(((mean + 0.5) / rate as f64 - 1.0).abs() < 0.01, "{mean} at {rate}");
            for multiple in 1..4 {
                let longer = gaps.iter().filter(|&&gap| gap >= multiple * rate).count();
                let share = longer as f64 / gaps.len() as f64;
                let exact = (-(multiple as f64)).exp();
                assert!((share / exact - 1.0).abs() < 0.03, "{share} for {exact} at {rate}");
            }
        }
    }

    #[test]
    fn heapsampling_interleaved_sizes_are_unbiased() {
        let sizes = [64 * KIB, KIB, 32 * KIB, 512, 16 * KIB, 256];
        for cursors in [Cursors::Shared, Cursors::OnePerSize] {
            let seen = interleave(&sizes, 16 * KIB, 200_000, cursors);
            for (&size, (sampled, allocated)) in sizes.iter().zip(seen) {
                let estimate = sampled as f64 * unskew(size, 16 * KIB);
                let ratio = estimate / allocated as f64;
                assert!((ratio - 1.0).abs() < 0.1, "{size} bytes, {cursors:?}: {ratio}");
            }
        }
    }

    #[test]
    fn objects_as_large_as_the_rate_are_unbiased() {
        let rate = 8 * KIB;
        for size in [rate - 1, rate, rate + 1] {
            let (sampled, allocated) = interleave(&[size], rate, 200_000, Cursors::Shared)[0];
            let ratio = sampled as f64 * unskew(size, rate) / allocated as f64;
            assert!((ratio - 1.0).abs() < 0.02, "{size} bytes at {rate}: {ratio}");
            // What the origin's scheme would have reported here.
            assert!((sampled as f64 / allocated as f64 - 1.0).abs() > 0.3);
        }
    }

    #[test]
    fn limits_sample_the_same_objects_as_counting_one_by_one() {
        let (mut one, mut many) = (Sampler::new(3, 4096), Sampler::new(3, 4096));
        let (mut by_one, mut by_run) = (Countdown::new(&mut one), Countdown::new(&mut many));
        let mut sampled = Vec::new();
        for object in 0..20_000u64 {
            if by_one.samples(48, &mut one) {
                sampled.push(object);
            }
        }
        let mut object = 0;
        for expected in sampled {
            let run = by_run.cells(48);
            by_run.skip(run * 48);
            object += run;
            assert_eq!(object, expected);
            assert!(by_run.samples(48, &mut many));
            object += 1;
        }
    }

    #[test]
    fn rate_zero_never_and_rate_one_always_samples() {
        let mut sampler = Sampler::new(1, RATE_OFF);
        let mut never = Countdown::new(&mut sampler);
        assert!((0..10_000).all(|_| !never.samples(1 << 40, &mut sampler)));
        assert_eq!(never, Countdown(u64::MAX), "nothing wears never down");
        assert!(sampler.set_rate(RATE_EVERY));
        assert!(!sampler.set_rate(RATE_EVERY));
        let mut always = Countdown::new(&mut sampler);
        assert!((0..10_000).all(|_| always.samples(1, &mut sampler)));
        assert_eq!(always.cells(8), 0);
    }

    #[test]
    fn a_changed_rate_is_noticed() {
        let mut sampler = Sampler::new(9, 512);
        let sum = |sampler: &mut Sampler| (0..10_000).map(|_| sampler.next_gap()).sum::<u64>();
        let small = sum(&mut sampler);
        assert!(sampler.set_rate(512 * 1024));
        assert!(sum(&mut sampler) > 500 * small);
    }

    #[test]
    fn unskewing_ends_at_one() {
        assert_eq!(unskew(1 << 40, 512), 1.0);
        assert_eq!(unskew(0, 512), 1.0);
        assert_eq!(unskew(100, 0), 1.0);
        assert!((unskew(512, 512) - 1.581_976_706_869_326_5).abs() < 1e-12);
    }
}
