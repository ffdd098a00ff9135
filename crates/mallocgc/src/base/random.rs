//! A small random number generator: for sampling, and for tests.

/// xorshift64*, after Marsaglia and Vigna: fast, seeded, not secret.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator; equal seeds give equal numbers.
    pub const fn new(seed: u64) -> Random {
        // Zero is the one state that never leaves itself.
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
        Random { state: if state == 0 { 1 } else { state } }
    }

    /// The next 64 random bits.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "not an iterator: it never ends")]
    pub fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not zero.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A gap of a Poisson process: exponentially distributed around `mean`.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        // 53 bits, in (0, 1].
        let unit = ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-unit.ln() * mean as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_gaps_have_their_mean() {
        let mut random = Random::new(3);
        let sum: u64 = (0..100_000).map(|_| random.exponential(4096)).sum();
        let mean = sum as f64 / 100_000.0;
        assert!((mean / 4096.0 - 1.0).abs() < 0.02, "mean {mean}");
    }
}
