//! Bits of a mask: one per word of an object, the first in the lowest bit.

use super::LayoutError;

/// A mask of the lowest `count` bits, up to 64.
#[inline]
pub(crate) const fn low_mask(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

/// The bit of word `word`.
#[inline]
pub(crate) fn get(bits: &[u64], word: usize) -> bool {
    bits[word / 64] >> (word % 64) & 1 != 0
}

/// Sets the bits of `mask`, the lowest of which belongs to word `start`.
#[inline]
pub(crate) fn set_mask(bits: &mut [u64], start: usize, mask: u64) {
    let (index, shift) = (start / 64, start % 64);
    bits[index] |= mask << shift;
    if shift != 0 && mask >> (64 - shift) != 0 {
        bits[index + 1] |= mask >> (64 - shift);
    }
}

/// A sequence of bits that knows its length.
///
/// # Invariants
///
/// 1. `bits` has `words.div_ceil(64)` elements.
/// 2. Bits at `words` and beyond are 0.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bits {
    words: usize,
    bits: Vec<u64>,
}

impl Bits {
    /// `words` zeroes.
    pub(crate) fn zeroed(words: usize) -> Bits {
        Bits { words, bits: vec![0; words.div_ceil(64)] }
    }

    /// The bits of `bits`, which must be as invariants 1 and 2 say.
    pub(crate) fn new(words: usize, bits: &[u64]) -> Result<Bits, LayoutError> {
        if bits.len() != words.div_ceil(64) {
            return Err(LayoutError::WrongBitsLength { words, given: bits.len() });
        }
        if !words.is_multiple_of(64) && bits[bits.len() - 1] & !low_mask(words % 64) != 0 {
            return Err(LayoutError::MaskBeyondWords { words });
        }
        Ok(Bits { words, bits: bits.to_vec() })
    }

    pub(crate) fn words(&self) -> usize {
        self.words
    }

    pub(crate) fn as_slice(&self) -> &[u64] {
        &self.bits
    }

    pub(crate) fn get(&self, word: usize) -> bool {
        debug_assert!(word < self.words);
        get(&self.bits, word)
    }

    /// Sets the bits of `mask`, the lowest of which belongs to word `start`.
    pub(crate) fn set_mask(&mut self, start: usize, mask: u64) {
        debug_assert!(mask == 0 || start + mask.ilog2() as usize <= self.words);
        set_mask(&mut self.bits, start, mask);
    }

    pub(crate) fn all_zero(&self) -> bool {
        self.bits.iter().all(|mask| *mask == 0)
    }

    /// Up to the last bit that is set.
    pub(crate) fn trimmed_words(&self) -> usize {
        match self.bits.iter().rposition(|mask| *mask != 0) {
            Some(index) => index * 64 + self.bits[index].ilog2() as usize + 1,
            None => 0,
        }
    }

    /// Shortens to `words`.
    pub(crate) fn truncate(&mut self, words: usize) {
        debug_assert!(words <= self.words);
        self.words = words;
        self.bits.truncate(words.div_ceil(64));
        if !words.is_multiple_of(64) {
            // Invariant 2.
            *self.bits.last_mut().expect("words is not 0") &= low_mask(words % 64);
        }
    }

    /// The same bits, each `by` places further back, those pushed out at the end
    /// coming in at the front.
    pub(crate) fn rotated(&self, by: usize) -> Bits {
        let mut rotated = Bits::zeroed(self.words);
        for word in (0..self.words).filter(|word| self.get(*word)) {
            rotated.set_mask((word + by) % self.words, 1);
        }
        rotated
    }

    /// The length of the shortest sequence that, repeated, gives these bits.
    pub(crate) fn smallest_period(&self) -> usize {
        (1..self.words)
            .filter(|period| self.words.is_multiple_of(*period))
            .find(|period| {
                (*period..self.words).all(|word| self.get(word) == self.get(word - period))
            })
            .unwrap_or(self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_checks_length_and_tail() {
        assert_eq!(Bits::new(65, &[0]), Err(LayoutError::WrongBitsLength { words: 65, given: 1 }));
        assert_eq!(Bits::new(65, &[0, 2]), Err(LayoutError::MaskBeyondWords { words: 65 }));
        assert_eq!(Bits::new(64, &[u64::MAX]).map(|bits| bits.words()), Ok(64));
    }

    #[test]
    fn set_mask_crosses_elements() {
        let mut bits = Bits::zeroed(130);
        bits.set_mask(60, 0b1000_1101);
        let set: Vec<usize> = (0..130).filter(|word| bits.get(*word)).collect();
        assert_eq!(set, [60, 62, 63, 67]);
        assert_eq!(bits.trimmed_words(), 68);
        bits.truncate(64);
        assert_eq!(bits.as_slice(), [0b1101 << 60]);
    }

    #[test]
    fn periods_and_rotation() {
        let bits = Bits::new(6, &[0b101101]).unwrap();
        assert_eq!(bits.smallest_period(), 3);
        assert_eq!(Bits::new(4, &[0b0111]).unwrap().smallest_period(), 4);
        assert_eq!(Bits::new(7, &[0b1111111]).unwrap().smallest_period(), 1);
        assert_eq!(Bits::new(4, &[0b0011]).unwrap().rotated(1).as_slice(), [0b0110]);
        assert_eq!(Bits::new(4, &[0b1001]).unwrap().rotated(1).as_slice(), [0b0011]);
    }
}
