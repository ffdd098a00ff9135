//! Text as the index sees it: words, their hashes, and which are near to each other.
//!
//! The Go and C peers repeat this in their own words; the Rust peer includes this very file, so it stands
//! alone.

/// Other words are passed over.
const LENGTHS: std::ops::RangeInclusive<usize> = 2..=32;

/// Positions this far apart are near.
const NEAR: u32 = 8;

/// Bytes of words as the index keeps them; 0 for what is between words.
const FOLD: [u8; 256] = {
    let mut fold = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let this = byte as u8;
        if this.is_ascii_alphanumeric() || this == b'_' {
            fold[byte] = this.to_ascii_lowercase();
        }
        byte += 1;
    }
    fold
};

/// The words of a text, one at a time.
#[derive(Debug)]
pub(crate) struct Words<'t> {
    rest: &'t [u8],
    word: [u8; *LENGTHS.end()],
}

impl<'t> Words<'t> {
    pub(crate) fn of(text: &'t [u8]) -> Words<'t> {
        Words { rest: text, word: [0; *LENGTHS.end()] }
    }

    /// The next word, until the one after is asked for.
    #[allow(clippy::should_implement_trait, reason = "iterators cannot lend")]
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let mut length = 0;
        while let Some((byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            let byte = FOLD[usize::from(*byte)];
            if byte != 0 {
                if length < self.word.len() {
                    self.word[length] = byte;
                }
                length += 1;
            } else if LENGTHS.contains(&length) {
                return Some(&self.word[..length]);
            } else {
                length = 0;
            }
        }
        LENGTHS.contains(&length).then(|| &self.word[..length])
    }
}

pub(crate) fn hash_of(text: &[u8]) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in text {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    }
    hash ^ (hash >> 32)
}

/// Counts the positions of `b` that have one of `a` near them.
pub(crate) fn near(a: &[u32], b: &[u32]) -> u64 {
    let mut count = 0;
    let mut i = 0;
    for at in b {
        while i < a.len() && a[i] + NEAR < *at {
            i += 1;
        }
        if i < a.len() && a[i] <= at + NEAR {
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::{Words, near};

    #[test]
    fn words_are_lower_case_and_of_two_to_32_bytes() {
        let long = "x".repeat(33);
        let text = format!("A Word, and_1 {long} {} last", &long[1..]);
        let mut words = Words::of(text.as_bytes());
        let mut seen = Vec::new();
        while let Some(word) = words.next() {
            seen.push(String::from_utf8(word.to_vec()).expect("letters"));
        }
        assert_eq!(seen, ["word", "and_1", &long[1..], "last"]);
        assert!(words.next().is_none());
    }

    #[test]
    fn eight_words_apart_is_near() {
        assert_eq!(near(&[10, 100], &[1, 2, 18, 19, 95, 109]), 3);
    }
}
