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
//! gap says nothing about the past. A mutator's cache may therefore throw the
//! gap away and draw a new one whenever it opens a chunk of cells, and end the
//! chunk before the cell that holds the point; inside a chunk nothing is
//! counted. The tests below hold the arithmetic, and that way of using it, to
//! the counts of imagined programs.
//!
//! Not here: the drawing (`base::random`), the chunks (`heap::cache`).

/// Mean bytes between samples that a program which profiles may choose when it
/// has no other wish: 512 KiB, as in the origin.
pub const DEFAULT_RATE: u64 = 512 << 10;

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
    if rate <= 1 || size == 0 {
        return 1.0;
    }
    // `exp_m1` keeps the digits that `1 - exp(…)` loses for small sizes.
    1.0 / -(-(size as f64) / rate as f64).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    const KIB: u64 = 1 << 10;

    /// Who draws gaps: one cursor for all objects, one for each size, or one
    /// for each size that forgets its gap after every few objects.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Cursors {
        Shared,
        OnePerSize,
        Forgetful,
    }

    /// `(sampled, allocated)` objects per size, after `rounds` rounds of one object of each.
    fn interleave(sizes: &[u64], rate: u64, rounds: u64, cursors: Cursors) -> Vec<(u64, u64)> {
        let mut random = Random::new(rate ^ rounds);
        let mut gaps: Vec<u64> = sizes.iter().map(|_| random.exponential(rate)).collect();
        let mut seen = vec![(0, 0); sizes.len()];
        for round in 0..rounds {
            for (index, &size) in sizes.iter().enumerate() {
                let cursor = if cursors == Cursors::Shared { 0 } else { index };
                if cursors == Cursors::Forgetful && round % 5 == 0 {
                    gaps[cursor] = random.exponential(rate);
                }
                seen[index].1 += 1;
                if gaps[cursor] < size {
                    seen[index].0 += 1;
                    gaps[cursor] = random.exponential(rate);
                } else {
                    gaps[cursor] -= size;
                }
            }
        }
        seen
    }

    #[test]
    fn heapsampling_interleaved_sizes_are_unbiased() {
        let sizes = [64 * KIB, KIB, 32 * KIB, 512, 16 * KIB, 256];
        for cursors in [Cursors::Shared, Cursors::OnePerSize, Cursors::Forgetful] {
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
            // Always sampling such objects, as the origin did, and unskewing them
            // would report this much too much.
            assert!((unskew(size, rate) - 1.58).abs() < 0.01);
        }
    }

    #[test]
    fn gaps_have_the_rate_as_mean_and_no_memory() {
        for rate in [512, 16 * KIB, 512 * KIB] {
            let mut random = Random::new(rate);
            let gaps: Vec<u64> = (0..400_000).map(|_| random.exponential(rate)).collect();
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
    fn unskewing_ends_at_one() {
        assert_eq!(unskew(1 << 40, 512), 1.0);
        assert_eq!(unskew(0, 512), 1.0);
        assert_eq!(unskew(100, 0), 1.0);
        assert!((unskew(512, 512) - 1.581_976_706_869_326_5).abs() < 1e-12);
    }
}
