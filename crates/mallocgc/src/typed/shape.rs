//! Where the references of a type are, as a constant.

#![forbid(unsafe_code)]

/// Bits of a mask.
const WORDS: u32 = u64::BITS;

/// Where a value of some type holds references.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::Shape;
/// // A reference in each of the words at 8 and 24.
/// let shape = Shape::FREE.with(8, Shape::WORD).with(24, Shape::WORD);
/// assert_eq!(shape.mask(), Some(0b1010));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape(Option<u64>);

impl Shape {
    /// Nowhere.
    pub const FREE: Shape = Shape(Some(0));
    /// The value is one word, a reference or null.
    pub const WORD: Shape = Shape(Some(1));
    /// Somewhere: [`trace`](crate::typed::Trace::trace) must be asked.
    pub const FUNCTION: Shape = Shape(None);

    /// Whether there are none.
    pub const fn is_free(self) -> bool {
        matches!(self.0, Some(0))
    }

    /// A bit for each word of the value, the first lowest; `None` if `trace` must be asked.
    pub const fn mask(self) -> Option<u64> {
        self.0
    }

    /// The shape of a value that has a part `offset` bytes from its begin.
    pub const fn with(self, offset: usize, part: Shape) -> Shape {
        match (self.0, part.0) {
            (_, Some(0)) => self,
            (Some(all), Some(mask)) => {
                let word = offset / 8;
                let fits = word as u32 + (WORDS - mask.leading_zeros()) <= WORDS;
                if !offset.is_multiple_of(8) || word >= WORDS as usize || !fits {
                    Shape::FUNCTION
                } else {
                    Shape(Some(all | mask << word))
                }
            }
            _ => Shape::FUNCTION,
        }
    }

    /// The shape of a value that is of the one or of the other kind.
    pub const fn or(self, other: Shape) -> Shape {
        if self.is_free() && other.is_free() { Shape::FREE } else { Shape::FUNCTION }
    }

    /// The shape of `count` values, each of `bytes`, one behind the other.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::Shape;
    /// // An array of three pairs of a reference and a number.
    /// let pair = Shape::FREE.with(0, Shape::WORD);
    /// assert_eq!(pair.repeated(16, 3).mask(), Some(0b01_01_01));
    /// assert_eq!(pair.repeated(16, 33), Shape::FUNCTION);
    /// ```
    pub const fn repeated(self, bytes: usize, count: usize) -> Shape {
        let mut all = Shape::FREE;
        if self.is_free() {
            return all;
        }
        let mut index = 0;
        while index < count && all.0.is_some() {
            all = all.with(index * bytes, self);
            index += 1;
        }
        all
    }

    /// The shape of an `Option` of a value of this one, if it needs no more bytes.
    pub(crate) const fn optional(self, value_bytes: usize, option_bytes: usize) -> Shape {
        match self.0 {
            Some(0) => Shape::FREE,
            // Null is no reference, so it is the niche.
            Some(1) if value_bytes == 8 && option_bytes == 8 => Shape::WORD,
            _ => Shape::FUNCTION,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_at_their_offsets() {
        let pair = Shape::WORD.with(8, Shape::WORD);
        assert_eq!(pair.mask(), Some(3));
        assert_eq!(Shape::FREE.with(16, pair).mask(), Some(0b1100));
        assert_eq!(Shape::FREE.with(63 * 8, Shape::WORD).mask(), Some(1 << 63));
        for (offset, part) in [(4, Shape::WORD), (64 * 8, Shape::WORD), (63 * 8, pair)] {
            assert_eq!(Shape::FREE.with(offset, part), Shape::FUNCTION, "{offset}");
        }
        assert_eq!(Shape::FREE.with(4, Shape::FREE), Shape::FREE);
        assert_eq!(Shape::FUNCTION.with(8, Shape::FREE), Shape::FUNCTION);
    }

    #[test]
    fn repetition_ends_at_64_words() {
        assert_eq!(Shape::WORD.repeated(8, 64).mask(), Some(u64::MAX));
        assert_eq!(Shape::WORD.repeated(8, 65), Shape::FUNCTION);
        assert_eq!(Shape::WORD.repeated(16, 3).mask(), Some(0b10101));
        assert_eq!(Shape::FREE.repeated(8, usize::MAX), Shape::FREE);
        assert_eq!(Shape::WORD.repeated(8, 0), Shape::FREE);
    }

    #[test]
    fn alternatives_and_options_are_constant_only_without_references() {
        assert_eq!(Shape::FREE.or(Shape::FREE), Shape::FREE);
        assert_eq!(Shape::WORD.or(Shape::WORD), Shape::FUNCTION);
        assert_eq!(Shape::WORD.optional(8, 8), Shape::WORD);
        assert_eq!(Shape::WORD.with(8, Shape::WORD).optional(16, 16), Shape::FUNCTION);
        assert_eq!(Shape::WORD.optional(8, 16), Shape::FUNCTION);
    }
}
