//! Layouts in the shape the collector reads.
//!
//! An [`Encoding`] is small and `Copy`. Masks of up to 64 words are in it; longer
//! ones and programs are *stored bits* beside it, words that the heap copies to
//! memory of its own ([`TypeLayout::write_bits`](super::TypeLayout::write_bits))
//! and passes back in. What the bits mean is said at each variant.
//!
//! Every encoding but a trace function can be read as [`Chunks`]: masks of up to
//! 64 words with the word they start at, from any word of the object to any
//! other, so that one mask kernel serves all of them and large arrays can be
//! split.
//!
//! Protection: values only.
//!
//! Not here: making encodings, and their normal form (`type_layout`).

use core::fmt;

use super::bits::{low_mask, set_mask};
use super::program::{Code, ProgramChunks};
use super::trace::TraceFn;

/// Longest program, in expanded words, that is worth unrolling: an object of
/// 8 MiB, a bitmap of 128 KiB. Longer ones are walked in place.
pub const UNROLLED_WORDS_MAX: usize = 1 << 20;

/// Where the references of a cell are, by word from its start.
#[derive(Clone, Copy)]
pub enum Encoding {
    /// Nowhere.
    NoScan,
    /// Where `mask` has bits. The last of `words`, at most 64, has one.
    Mask {
        /// Words up to the last reference.
        words: u8,
        /// One bit per word, the first in the lowest.
        mask: u64,
    },
    /// As `Mask`, with more words; stored: the mask.
    LongMask {
        /// Words up to the last reference.
        words: u32,
    },
    /// A head of up to 64 words, then elements of up to 64 words to the end of
    /// the cell.
    Repeat {
        /// Words of the head.
        head_words: u8,
        /// References of the head.
        head_mask: u64,
        /// Words of an element; not 0.
        elem_words: u8,
        /// References of an element; not 0.
        elem_mask: u64,
    },
    /// As `Repeat`, with more words; stored: the head's mask, then, at the next
    /// whole word of storage, the element's.
    LongRepeat {
        /// Words of the head.
        head_words: u32,
        /// Words of an element; not 0.
        elem_words: u32,
    },
    /// What a program says; stored: its bytes, eight to a word.
    Program {
        /// Bytes of the program.
        bytes: u32,
        /// Words in front of the tail; without one, up to the last reference.
        words: usize,
        /// Words of the part that repeats to the end of the cell; 0 for none.
        tail_words: usize,
    },
    /// Where a function finds them.
    Trace {
        /// The function.
        function: TraceFn,
        /// Bytes between the elements to call it for, as many as fit in the cell;
        /// 0 when it takes the whole cell at once.
        stride_bytes: usize,
        /// What it finds in its tracer.
        data: usize,
        /// What it may be called beside.
        calls: Calls,
    },
    /// Any word may hold one, or a number that looks like one.
    Conservative,
    /// The first word, which does not keep what it leads to alive, and the
    /// second, which does while the first leads to something alive.
    Ephemeron,
}

/// When a trace function may be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Calls {
    /// While no mutator changes the object: beside mutators under its claim.
    Claimed,
    /// Beside mutators: what they change is in cells that keep them and the tracer apart.
    Beside,
}

impl Encoding {
    /// Whether cells never hold references.
    #[inline]
    pub const fn is_noscan(&self) -> bool {
        matches!(self, Encoding::NoScan)
    }

    /// Words of stored bits that belong to this encoding.
    pub const fn bits_words(&self) -> usize {
        match *self {
            Encoding::LongMask { words } => (words as usize).div_ceil(64),
            Encoding::LongRepeat { head_words, elem_words } => {
                (head_words as usize).div_ceil(64) + (elem_words as usize).div_ceil(64)
            }
            Encoding::Program { bytes, .. } => (bytes as usize).div_ceil(8),
            _ => 0,
        }
    }

    /// The words among the first `cell_words` that a scan has to look at: none
    /// beyond has a reference.
    pub fn scanned_words(&self, cell_words: usize) -> usize {
        match *self {
            Encoding::NoScan => 0,
            Encoding::Mask { words, .. } => cell_words.min(words.into()),
            Encoding::LongMask { words } => cell_words.min(words as usize),
            Encoding::Program { words, tail_words: 0, .. } => cell_words.min(words),
            Encoding::Ephemeron => cell_words.min(2),
            _ => cell_words,
        }
    }

    /// The references of a cell of at most 64 words as one mask. `None` for
    /// larger cells, and where a mask cannot say it: trace functions,
    /// conservative cells and ephemerons.
    pub fn unrolled_mask(&self, bits: &[u64], cell_words: usize) -> Option<u64> {
        match self {
            Encoding::Trace { .. } | Encoding::Conservative | Encoding::Ephemeron => None,
            _ if cell_words > 64 => None,
            _ => Some(
                self.chunks(bits, 0, cell_words).fold(0, |all, (start, mask)| all | mask << start),
            ),
        }
    }

    /// The masks of the words `from..to` of a cell, ascending, none empty. All
    /// words for conservative cells; nothing for trace functions.
    ///
    /// `bits` are the stored bits, or more words than those.
    pub fn chunks<'a>(&self, bits: &'a [u64], from: usize, to: usize) -> Chunks<'a> {
        let stored = &bits[..self.bits_words()];
        let tiled = |head: Masks<'a>, head_words: usize, elem: Masks<'a>, elem_words: usize| {
            // Short elements are laid side by side first.
            let (elem, elem_words) = match elem {
                Masks::Inline(mask) if elem_words > 0 => {
                    let copies = 64 / elem_words;
                    let tile = (0..copies).fold(0, |tile, copy| tile | mask << (copy * elem_words));
                    (Masks::Inline(tile), copies * elem_words)
                }
                other => (other, elem_words),
            };
            let elem_at = if elem_words > 0 && from > head_words {
                (from - head_words) % elem_words
            } else {
                0
            };
            Source::Tiled { head, head_words, elem, elem_words, elem_at }
        };
        const NOTHING: Masks<'_> = Masks::Inline(0);
        let source = match *self {
            Encoding::NoScan | Encoding::Trace { .. } => tiled(NOTHING, 0, NOTHING, 0),
            Encoding::Mask { words, mask } => tiled(Masks::Inline(mask), words.into(), NOTHING, 0),
            Encoding::LongMask { words } => {
                tiled(Masks::Stored(stored), words as usize, NOTHING, 0)
            }
            Encoding::Repeat { head_words, head_mask, elem_words, elem_mask } => tiled(
                Masks::Inline(head_mask),
                head_words.into(),
                Masks::Inline(elem_mask),
                elem_words.into(),
            ),
            Encoding::LongRepeat { head_words, elem_words } => {
                let (head, elem) = stored.split_at((head_words as usize).div_ceil(64));
                tiled(
                    Masks::Stored(head),
                    head_words as usize,
                    Masks::Stored(elem),
                    elem_words as usize,
                )
            }
            Encoding::Program { bytes, .. } => {
                Source::Program(ProgramChunks::new(Code::new(stored, bytes as usize), from, to))
            }
            Encoding::Conservative => tiled(NOTHING, 0, Masks::Inline(u64::MAX), 64),
            Encoding::Ephemeron => tiled(Masks::Inline(0b11), 2, NOTHING, 0),
        };
        Chunks { source, word: from, to }
    }

    /// The words `from..to` of a cell that hold references, ascending; see
    /// [`chunks`](Encoding::chunks).
    pub fn pointer_words<'a>(&self, bits: &'a [u64], from: usize, to: usize) -> PointerWords<'a> {
        PointerWords { chunks: self.chunks(bits, from, to), start: 0, mask: 0 }
    }

    /// What a program becomes when it is unrolled: a long mask or a long repeat,
    /// to be filled by [`unroll`](Encoding::unroll). `None` for programs of more
    /// than [`UNROLLED_WORDS_MAX`] words, and for what is no program.
    pub fn unrolled(&self) -> Option<Encoding> {
        match *self {
            Encoding::Program { words, tail_words, .. }
                if words.saturating_add(tail_words) <= UNROLLED_WORDS_MAX =>
            {
                Some(match tail_words {
                    0 => Encoding::LongMask { words: words as u32 },
                    _ => Encoding::LongRepeat {
                        head_words: words as u32,
                        elem_words: tail_words as u32,
                    },
                })
            }
            _ => None,
        }
    }

    /// Writes the stored bits of [`unrolled`](Encoding::unrolled) to `out`, which
    /// holds zeroes.
    ///
    /// # Panics
    ///
    /// When there is nothing to unroll or `out` is shorter than the bits.
    pub fn unroll(&self, bits: &[u64], out: &mut [u64]) {
        let unrolled = self.unrolled().expect("a program short enough to unroll");
        let Encoding::Program { words, tail_words, .. } = *self else {
            unreachable!("only programs unroll")
        };
        let (head, tail) = out[..unrolled.bits_words()].split_at_mut(words.div_ceil(64));
        for (start, mask) in self.chunks(bits, 0, words) {
            set_mask(head, start, mask);
        }
        for (start, mask) in self.chunks(bits, words, words + tail_words) {
            // The first chunk may start in the head, whose bits are cut off.
            match start.checked_sub(words) {
                Some(start) => set_mask(tail, start, mask),
                None => set_mask(tail, 0, mask >> (words - start)),
            }
        }
    }
}

impl PartialEq for Encoding {
    fn eq(&self, other: &Encoding) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Encoding {}

impl core::hash::Hash for Encoding {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Encoding {
    /// Numbers that are equal for equal encodings only. Functions count by
    /// address: two of the same code may be the same, and one compiled twice two.
    fn key(&self) -> [u64; 5] {
        match *self {
            Encoding::NoScan => [0; 5],
            Encoding::Mask { words, mask } => [1, words.into(), mask, 0, 0],
            Encoding::LongMask { words } => [2, words.into(), 0, 0, 0],
            Encoding::Repeat { head_words, head_mask, elem_words, elem_mask } => {
                [3, head_words.into(), head_mask, elem_words.into(), elem_mask]
            }
            Encoding::LongRepeat { head_words, elem_words } => {
                [4, head_words.into(), elem_words.into(), 0, 0]
            }
            Encoding::Program { bytes, words, tail_words } => {
                [5, bytes.into(), words as u64, tail_words as u64, 0]
            }
            Encoding::Trace { function, stride_bytes, data, calls } => {
                let function = function as *const () as u64;
                [6, function, stride_bytes as u64, data as u64, calls as u64]
            }
            Encoding::Conservative => [7, 0, 0, 0, 0],
            Encoding::Ephemeron => [8, 0, 0, 0, 0],
        }
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Encoding::NoScan => f.write_str("NoScan"),
            Encoding::Mask { words, mask } => {
                write!(f, "Mask({:0width$b})", mask, width = words as usize)
            }
            Encoding::LongMask { words } => write!(f, "LongMask({words} words)"),
            Encoding::Repeat { head_words, head_mask, elem_words, elem_mask } => {
                f.write_str("Repeat(")?;
                if head_words > 0 {
                    write!(f, "{:0width$b}, ", head_mask, width = head_words as usize)?;
                }
                write!(f, "{:0width$b}…)", elem_mask, width = elem_words as usize)
            }
            Encoding::LongRepeat { head_words, elem_words } => {
                write!(f, "LongRepeat({head_words} words, {elem_words} words…)")
            }
            Encoding::Program { bytes, words, tail_words } => {
                write!(f, "Program({bytes} bytes: {words} words")?;
                if tail_words > 0 {
                    write!(f, ", {tail_words} words…")?;
                }
                f.write_str(")")
            }
            Encoding::Trace { stride_bytes: 0, .. } => f.write_str("Trace"),
            Encoding::Trace { stride_bytes, .. } => write!(f, "Trace(every {stride_bytes} bytes)"),
            Encoding::Conservative => f.write_str("Conservative"),
            Encoding::Ephemeron => f.write_str("Ephemeron"),
        }
    }
}

/// Masks, in the encoding or stored.
#[derive(Clone, Copy, Debug)]
enum Masks<'a> {
    Inline(u64),
    Stored(&'a [u64]),
}

impl Masks<'_> {
    /// The bits from word `at` to the end of its 64, `words` in all.
    #[inline]
    fn rest_of_chunk(self, at: usize, words: usize) -> (usize, u64) {
        let count = (64 - at % 64).min(words - at);
        let mask = match self {
            Masks::Inline(mask) => mask,
            Masks::Stored(bits) => bits[at / 64],
        };
        (count, mask >> (at % 64) & low_mask(count))
    }
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a collector must not allocate to walk an object")]
enum Source<'a> {
    /// A head, then elements (or nothing, when they have no words).
    Tiled {
        head: Masks<'a>,
        head_words: usize,
        elem: Masks<'a>,
        elem_words: usize,
        elem_at: usize,
    },
    Program(ProgramChunks<'a>),
}

/// The references of a part of a cell: pairs of a word's index and the mask of up
/// to 64 words from there on. Made by [`Encoding::chunks`].
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    source: Source<'a>,
    word: usize,
    to: usize,
}

impl Iterator for Chunks<'_> {
    type Item = (usize, u64);

    #[inline]
    fn next(&mut self) -> Option<(usize, u64)> {
        let (head, head_words, elem, elem_words, elem_at) = match &mut self.source {
            Source::Program(program) => return program.next(),
            Source::Tiled { head, head_words, elem, elem_words, elem_at } => {
                (*head, *head_words, *elem, *elem_words, elem_at)
            }
        };
        while self.word < self.to {
            let (count, mask) = if self.word < head_words {
                head.rest_of_chunk(self.word, head_words)
            } else if elem_words == 0 {
                return None;
            } else {
                let (count, mask) = elem.rest_of_chunk(*elem_at, elem_words);
                *elem_at += count;
                if *elem_at == elem_words {
                    *elem_at = 0;
                }
                (count, mask)
            };
            let start = self.word;
            self.word += count;
            let mask = mask & low_mask(self.to - start);
            if mask != 0 {
                return Some((start, mask));
            }
        }
        None
    }
}

/// The references of a part of a cell, word by word. Made by
/// [`Encoding::pointer_words`].
#[derive(Clone, Debug)]
pub struct PointerWords<'a> {
    chunks: Chunks<'a>,
    start: usize,
    mask: u64,
}

impl Iterator for PointerWords<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.mask == 0 {
            (self.start, self.mask) = self.chunks.next()?;
        }
        let word = self.start + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(word)
    }
}
