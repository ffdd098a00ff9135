//! Deterministic numbers and digests, the same in every program.
//!
//! The Go and C peers repeat these functions in their own words; the Rust peer includes this
//! very file, so it stands alone.

/// A stream of pseudo-random numbers (splitmix64) from a seed.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next number, all 64 bits random.
    #[inline]
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, by the high half of a product: slightly uneven, and cheap.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((self.next() >> 32) * bound) >> 32
    }
}

/// A running digest of numbers, in order.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u64);

impl Digest {
    /// The digest of nothing.
    pub fn new() -> Digest {
        Digest(0xCBF2_9CE4_8422_2325)
    }

    /// Adds one number.
    #[inline]
    pub fn add(&mut self, value: u64) {
        self.0 = (self.0 ^ value).rotate_left(29).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    /// The value so far.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl Default for Digest {
    fn default() -> Digest {
        Digest::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, Random};

    #[test]
    fn numbers_are_fixed_for_ever() {
        let mut random = Random::new(1);
        assert_eq!(random.next(), 0x910A_2DEC_8902_5CC1);
        assert!((0..1000).all(|_| random.below(7) < 7));
        let mut digest = Digest::new();
        digest.add(1);
        digest.add(2);
        assert_eq!(digest.value(), {
            let k = 0x9E37_79B9_7F4A_7C15_u64;
            let one = (0xCBF2_9CE4_8422_2325_u64 ^ 1).rotate_left(29).wrapping_mul(k);
            (one ^ 2).rotate_left(29).wrapping_mul(k)
        });
    }
}
