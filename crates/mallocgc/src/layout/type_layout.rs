//! What a user says about a type: its size, its name, where its references are.
//!
//! Constructors bring the references to a normal form, so that layouts with the
//! same references are equal however they were written:
//!
//! - no references at all: pointer-free, whatever it was;
//! - a fixed part ends at its last reference; up to [`FIXED_WORDS_MAX`] words it
//!   is a mask, beyond that a program;
//! - a repeated part has its smallest period, and words of the head that continue
//!   it belong to it;
//! - a program of masks that short becomes those masks. Longer programs are
//!   simplified (see `program`) and then compared as written.
//!
//! Protection: values only.
//!
//! Not here: what the collector reads (`encoding`).

use core::hash::{Hash, Hasher};
use std::borrow::Cow;

use crate::base::WORD_SIZE;

use super::bits::{self, Bits};
use super::program::Code;
use super::{Encoding, LayoutError, Program, ProgramBuilder, TraceFn, WORDS_MAX};

/// Longest fixed part, and longest repeated part, kept as a mask: 4096 words, the
/// size of the largest cell. A mask of that length takes 512 bytes.
pub const FIXED_WORDS_MAX: usize = 4096;

/// Where a type's references are, with its size and name.
///
/// Equality and hashing look at the references only: types of different names
/// and sizes with references at the same words are equal, and their objects of one
/// size class share spans.
///
/// # Examples
///
/// ```
/// use mallocgc::layout::TypeLayout;
///
/// // struct Node { key: u64, left: *mut Node, right: *mut Node }
/// let node = TypeLayout::mask(3, 0b110).named("Node");
/// assert_eq!(node.size_bytes(), 24);
/// let nodes = node.array_of()?;
/// assert_eq!(nodes.pointer_words(7).collect::<Vec<_>>(), [1, 2, 4, 5]);
/// # Ok::<(), mallocgc::layout::LayoutError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TypeLayout {
    name: Option<Cow<'static, str>>,
    size_bytes: usize,
    encoding: Encoding,
    /// The stored bits of `encoding`, exactly.
    bits: Vec<u64>,
}

impl TypeLayout {
    /// A type of `size_bytes` bytes without references.
    pub const fn noscan(size_bytes: usize) -> TypeLayout {
        TypeLayout { name: None, size_bytes, encoding: Encoding::NoScan, bits: Vec::new() }
    }

    /// A type of up to 64 words with references where `mask` has bits, the first
    /// word in the lowest bit.
    ///
    /// # Panics
    ///
    /// When `words` is not in 1..=64, or `mask` has bits beyond them.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::layout::TypeLayout;
    /// // struct { key: u64, left: *mut _, right: *mut _ }
    /// let node = TypeLayout::mask(3, 0b110);
    /// assert_eq!(node.pointer_words(3).collect::<Vec<_>>(), [1, 2]);
    /// ```
    #[track_caller]
    pub fn mask(words: usize, mask: u64) -> TypeLayout {
        TypeLayout::try_mask(words, mask)
            .unwrap_or_else(|error| panic!("mask {mask:#b} of {words} words: {error}"))
    }

    /// As [`mask`](TypeLayout::mask), with an error for bad input.
    pub fn try_mask(words: usize, mask: u64) -> Result<TypeLayout, LayoutError> {
        if words > 64 {
            return Err(LayoutError::TooManyWords { words });
        }
        TypeLayout::mask_bits(words, &[mask])
    }

    /// A type of any number of words, 64 to an element of `bits`.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::layout::TypeLayout;
    /// let long = TypeLayout::mask_bits(100, &[0b1, 0b1])?;
    /// assert_eq!(long.pointer_words(100).collect::<Vec<_>>(), [0, 64]);
    /// assert_eq!(long.size_bytes(), 800);
    /// # Ok::<(), mallocgc::layout::LayoutError>(())
    /// ```
    pub fn mask_bits(words: usize, bits: &[u64]) -> Result<TypeLayout, LayoutError> {
        let size_bytes = mask_size_bytes(words)?;
        let mask = Bits::new(words, bits)?;
        TypeLayout::from_parts(mask, None)?.with_size_bytes(size_bytes)
    }

    /// Elements of up to 64 words, repeated to the end of the object.
    ///
    /// # Panics
    ///
    /// As [`mask`](TypeLayout::mask).
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::layout::TypeLayout;
    /// // An array of pairs of a reference and a number, of any length.
    /// let pairs = TypeLayout::repeat(2, 0b01);
    /// assert_eq!(pairs.pointer_words(6).collect::<Vec<_>>(), [0, 2, 4]);
    /// ```
    #[track_caller]
    pub fn repeat(elem_words: usize, elem_mask: u64) -> TypeLayout {
        TypeLayout::try_repeat(elem_words, elem_mask).unwrap_or_else(|error| {
            panic!("repeated mask {elem_mask:#b} of {elem_words} words: {error}")
        })
    }

    /// As [`repeat`](TypeLayout::repeat), with an error for bad input.
    pub fn try_repeat(elem_words: usize, elem_mask: u64) -> Result<TypeLayout, LayoutError> {
        if elem_words > 64 {
            return Err(LayoutError::TooManyWords { words: elem_words });
        }
        TypeLayout::repeat_bits(0, &[], elem_words, &[elem_mask])
    }

    /// A head of `head_words` words, then elements of `elem_words` words repeated
    /// to the end of the object. The size is that of the head and one element.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::layout::TypeLayout;
    ///
    /// // A vector: length, capacity, then references.
    /// let vector = TypeLayout::repeat_bits(2, &[0b00], 1, &[0b1])?;
    /// assert_eq!(vector.pointer_words(6).collect::<Vec<_>>(), [2, 3, 4, 5]);
    /// # Ok::<(), mallocgc::layout::LayoutError>(())
    /// ```
    pub fn repeat_bits(
        head_words: usize,
        head_bits: &[u64],
        elem_words: usize,
        elem_bits: &[u64],
    ) -> Result<TypeLayout, LayoutError> {
        if head_words > WORDS_MAX {
            return Err(LayoutError::TooManyWords { words: head_words });
        }
        let size_bytes = mask_size_bytes(elem_words)?
            .checked_add(head_words * WORD_SIZE)
            .ok_or(LayoutError::TooManyWords { words: usize::MAX })?;
        let head = Bits::new(head_words, head_bits)?;
        let elem = Bits::new(elem_words, elem_bits)?;
        TypeLayout::from_parts(head, Some(elem))?.with_size_bytes(size_bytes)
    }

    /// A type whose references a program tells; the size is the words it expands
    /// to, plus one round of the part that repeats to the end.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::layout::{ProgramBuilder, TypeLayout};
    ///
    /// let mut program = ProgramBuilder::new();
    /// program.references(1).plain(9);
    /// let layout = TypeLayout::program(&program.finish()?)?;
    /// assert_eq!(layout.size_bytes(), 80);
    /// # Ok::<(), mallocgc::layout::LayoutError>(())
    /// ```
    pub fn program(program: &Program) -> Result<TypeLayout, LayoutError> {
        let (words, tail_words) = (program.expanded_words(), program.tail_words());
        let layout = if program.scanned_words().max(tail_words) <= FIXED_WORDS_MAX {
            let (head, tail) = program.unroll();
            TypeLayout::from_parts(head, (tail_words > 0).then_some(tail))?
        } else {
            TypeLayout::from_program(program)
        };
        layout.with_size_bytes((words + tail_words) * WORD_SIZE)
    }

    /// A type of `size_bytes` bytes whose references `function` reports.
    pub const fn trace(size_bytes: usize, function: TraceFn) -> TypeLayout {
        let encoding = Encoding::Trace { function, stride_bytes: 0 };
        TypeLayout { name: None, size_bytes, encoding, bits: Vec::new() }
    }

    /// A type of `size_bytes` bytes any aligned word of which may be a reference.
    pub const fn conservative(size_bytes: usize) -> TypeLayout {
        TypeLayout { name: None, size_bytes, encoding: Encoding::Conservative, bits: Vec::new() }
    }

    /// An ephemeron of `size_bytes` bytes, two words or more.
    pub(crate) const fn ephemeron(size_bytes: usize) -> TypeLayout {
        TypeLayout { name: None, size_bytes, encoding: Encoding::Ephemeron, bits: Vec::new() }
    }

    /// The same layout under a name, for dumps, profiles and messages.
    #[must_use]
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> TypeLayout {
        self.name = Some(name.into());
        self
    }

    /// The same layout for a type of another size, for words without references
    /// at the end. It must not end before the last reference of the fixed part.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::layout::{LayoutError, TypeLayout};
    /// // A reference and forty bytes of data.
    /// let record = TypeLayout::mask(1, 1).with_size_bytes(48)?;
    /// assert_eq!(record.size_bytes(), 48);
    /// let short = TypeLayout::mask(2, 0b10).with_size_bytes(8).unwrap_err();
    /// assert_eq!(short, LayoutError::SizeTooSmall { bytes: 8, needed: 16 });
    /// # Ok::<(), LayoutError>(())
    /// ```
    pub fn with_size_bytes(mut self, bytes: usize) -> Result<TypeLayout, LayoutError> {
        let words = match self.encoding {
            Encoding::Mask { words, .. } => words.into(),
            Encoding::LongMask { words } => words as usize,
            Encoding::Repeat { head_words, .. } => head_words.into(),
            Encoding::LongRepeat { head_words, .. } => head_words as usize,
            Encoding::Program { words, .. } => words,
            Encoding::Ephemeron => 2,
            Encoding::NoScan | Encoding::Trace { .. } | Encoding::Conservative => 0,
        };
        if bytes < words * WORD_SIZE {
            return Err(LayoutError::SizeTooSmall { bytes, needed: words * WORD_SIZE });
        }
        if bytes > WORDS_MAX * WORD_SIZE {
            return Err(LayoutError::TooManyWords { words: bytes / WORD_SIZE });
        }
        self.size_bytes = bytes;
        Ok(self)
    }

    /// The layout of arrays of this type, as many as fit in the object. The name
    /// and the size stay those of one element.
    ///
    /// Elements with references must be whole words. A trace function is called
    /// for each element, also for those of zeroes between an array's end and its
    /// cell's.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::layout::TypeLayout;
    /// let pair = TypeLayout::mask(2, 0b10);
    /// assert!(!pair.repeats());
    /// let pairs = pair.array_of()?;
    /// assert!(pairs.repeats());
    /// assert_eq!(pairs.pointer_words(5).collect::<Vec<_>>(), [1, 3]);
    /// # Ok::<(), mallocgc::layout::LayoutError>(())
    /// ```
    pub fn array_of(&self) -> Result<TypeLayout, LayoutError> {
        let bytes = self.size_bytes;
        let array = match self.encoding {
            Encoding::NoScan => TypeLayout::noscan(bytes),
            Encoding::Conservative => TypeLayout::conservative(bytes),
            Encoding::Trace { .. } if bytes == 0 => return Err(LayoutError::ZeroWords),
            Encoding::Trace { function, stride_bytes: 0 } => {
                let encoding = Encoding::Trace { function, stride_bytes: bytes };
                TypeLayout { encoding, ..TypeLayout::noscan(bytes) }
            }
            // Arrays of arrays of whole elements.
            Encoding::Trace { stride_bytes, .. } if bytes.is_multiple_of(stride_bytes) => {
                self.clone()
            }
            Encoding::Trace { .. } | Encoding::Ephemeron => return Err(LayoutError::NotRepeatable),
            _ if !bytes.is_multiple_of(WORD_SIZE) => {
                return Err(LayoutError::MisalignedSize { bytes });
            }
            _ if bytes == 0 => return Err(LayoutError::ZeroWords),
            _ if bytes <= FIXED_WORDS_MAX * WORD_SIZE => {
                let words = bytes / WORD_SIZE;
                let mut elem = Bits::zeroed(words);
                for (start, mask) in self.encoding.chunks(&self.bits, 0, words) {
                    elem.set_mask(start, mask);
                }
                TypeLayout::from_parts(Bits::default(), Some(elem))?
            }
            _ => {
                let element = self.to_program()?;
                let mut builder = ProgramBuilder::new();
                builder.repeat_to_end(|body| {
                    body.program(&element, bytes / WORD_SIZE);
                });
                TypeLayout::from_program(&builder.finish()?)
            }
        };
        Ok(TypeLayout { name: self.name.clone(), size_bytes: bytes, ..array })
    }

    /// Whether objects of any number of values of this type, one behind the
    /// other, have the references of each: layouts made by
    /// [`array_of`](TypeLayout::array_of), repeated masks without a head and
    /// whose size is whole elements, and layouts that look at no word or at all of them.
    ///
    /// A trace function that takes the whole object does not repeat.
    pub fn repeats(&self) -> bool {
        let whole = |bytes: usize| self.size_bytes.is_multiple_of(bytes);
        match self.encoding {
            Encoding::NoScan | Encoding::Conservative => true,
            Encoding::Mask { .. } | Encoding::LongMask { .. } | Encoding::Ephemeron => false,
            Encoding::Repeat { head_words, elem_words, .. } => {
                head_words == 0 && whole(elem_words as usize * WORD_SIZE)
            }
            Encoding::LongRepeat { head_words, elem_words } => {
                head_words == 0 && whole(elem_words as usize * WORD_SIZE)
            }
            Encoding::Program { words, tail_words, .. } => {
                words == 0 && tail_words > 0 && whole(tail_words * WORD_SIZE)
            }
            Encoding::Trace { stride_bytes, .. } => stride_bytes > 0 && whole(stride_bytes),
        }
    }

    /// The name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Bytes of one value of the type.
    pub const fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Whether objects hold no references.
    pub const fn is_noscan(&self) -> bool {
        self.encoding.is_noscan()
    }

    /// The references as the collector reads them.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Length of what [`write_bits`](TypeLayout::write_bits) writes.
    pub const fn bits_words(&self) -> usize {
        self.encoding.bits_words()
    }

    /// Copies the encoding's stored bits.
    ///
    /// # Panics
    ///
    /// When `out` is not [`bits_words`](TypeLayout::bits_words) long.
    pub fn write_bits(&self, out: &mut [u64]) {
        out.copy_from_slice(&self.bits);
    }

    /// Whether this is the layout that a heap keeps as `encoding` and `bits`.
    pub fn is_stored_as(&self, encoding: &Encoding, bits: &[u64]) -> bool {
        self.encoding == *encoding && self.bits == bits[..encoding.bits_words()]
    }

    /// A number that is equal for equal layouts, to find them by.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// The references of a cell of at most 64 words as one mask; see
    /// [`Encoding::unrolled_mask`].
    pub fn unrolled_mask(&self, cell_words: usize) -> Option<u64> {
        self.encoding.unrolled_mask(&self.bits, cell_words)
    }

    /// The words of a cell that hold references, ascending: the slow way, one
    /// word at a time, as the oracle of whatever is faster. All words for
    /// conservative layouts, none for trace functions.
    pub fn pointer_words(&self, cell_words: usize) -> impl Iterator<Item = usize> + '_ {
        (0..cell_words).filter(|word| self.is_pointer(*word))
    }

    /// Whether word `word` of an object holds a reference.
    pub fn is_pointer(&self, word: usize) -> bool {
        let bit = |mask: u64, word: usize| mask >> word & 1 != 0;
        match self.encoding {
            Encoding::NoScan | Encoding::Trace { .. } => false,
            Encoding::Conservative => true,
            Encoding::Ephemeron => word < 2,
            Encoding::Mask { words, mask } => word < words.into() && bit(mask, word),
            Encoding::LongMask { words } => word < words as usize && bits::get(&self.bits, word),
            Encoding::Repeat { head_words, head_mask, elem_words, elem_mask } => {
                match word.checked_sub(head_words.into()) {
                    None => bit(head_mask, word),
                    Some(beyond) => bit(elem_mask, beyond % elem_words as usize),
                }
            }
            Encoding::LongRepeat { head_words, elem_words } => {
                let (head_words, elem_words) = (head_words as usize, elem_words as usize);
                let (head, elem) = self.bits.split_at(head_words.div_ceil(64));
                match word.checked_sub(head_words) {
                    None => bits::get(head, word),
                    Some(beyond) => bits::get(elem, beyond % elem_words),
                }
            }
            Encoding::Program { bytes, .. } => {
                Code::new(&self.bits, bytes as usize).is_pointer(word)
            }
        }
    }

    /// The normal form of a fixed part and a repeated part, without a size.
    fn from_parts(mut head: Bits, elem: Option<Bits>) -> Result<TypeLayout, LayoutError> {
        let Some(mut elem) = elem.filter(|elem| !elem.all_zero()) else {
            head.truncate(head.trimmed_words());
            return TypeLayout::from_fixed(head);
        };
        if elem.words() <= FIXED_WORDS_MAX {
            elem.truncate(elem.smallest_period());
            // A last word of the head that is also an element's last word may as
            // well be the first word of elements that are turned by one.
            let period = elem.words();
            let mut turns = 0;
            while turns < head.words()
                && head.get(head.words() - 1 - turns)
                    == elem.get((2 * period - 1 - turns % period) % period)
            {
                turns += 1;
            }
            head.truncate(head.words() - turns);
            elem = elem.rotated(turns % period);
        }
        let (head_words, elem_words) = (head.words(), elem.words());
        if head_words.max(elem_words) > FIXED_WORDS_MAX {
            let mut builder = ProgramBuilder::new();
            builder.bits(&head).repeat_to_end(|body| {
                body.bits(&elem);
            });
            return Ok(TypeLayout::from_program(&builder.finish()?));
        }
        let (encoding, bits) = if head_words.max(elem_words) <= 64 {
            let encoding = Encoding::Repeat {
                head_words: head_words as u8,
                head_mask: head.as_slice().first().copied().unwrap_or(0),
                elem_words: elem_words as u8,
                elem_mask: elem.as_slice()[0],
            };
            (encoding, Vec::new())
        } else {
            let encoding = Encoding::LongRepeat {
                head_words: head_words as u32,
                elem_words: elem_words as u32,
            };
            (encoding, [head.as_slice(), elem.as_slice()].concat())
        };
        Ok(TypeLayout { encoding, bits, ..TypeLayout::noscan(0) })
    }

    /// The normal form of a mask that ends at its last reference.
    fn from_fixed(mask: Bits) -> Result<TypeLayout, LayoutError> {
        let (encoding, bits) = match mask.words() {
            0 => (Encoding::NoScan, Vec::new()),
            words @ 1..=64 => {
                (Encoding::Mask { words: words as u8, mask: mask.as_slice()[0] }, Vec::new())
            }
            words if words <= FIXED_WORDS_MAX => {
                (Encoding::LongMask { words: words as u32 }, mask.as_slice().to_vec())
            }
            _ => return Ok(TypeLayout::from_program(&Program::from_bits(&mask)?)),
        };
        Ok(TypeLayout { encoding, bits, ..TypeLayout::noscan(0) })
    }

    /// A program, taken as it is up to its last reference.
    fn from_program(program: &Program) -> TypeLayout {
        let (code, bytes) = program.scanned_code();
        let encoding = Encoding::Program {
            bytes: bytes as u32,
            words: program.scanned_words(),
            tail_words: program.tail_words(),
        };
        TypeLayout { encoding, bits: code, ..TypeLayout::noscan(0) }
    }

    /// The fixed part as a program.
    fn to_program(&self) -> Result<Program, LayoutError> {
        match self.encoding {
            Encoding::Mask { .. } | Encoding::LongMask { .. } => {
                let words = self.encoding.scanned_words(usize::MAX);
                let mut mask = Bits::zeroed(words);
                for (start, bits) in self.encoding.chunks(&self.bits, 0, words) {
                    mask.set_mask(start, bits);
                }
                Program::from_bits(&mask)
            }
            Encoding::Program { bytes, tail_words: 0, .. } => {
                Program::from_bytes(&Code::new(&self.bits, bytes as usize).to_bytes())
            }
            _ => Err(LayoutError::NotRepeatable),
        }
    }
}

impl PartialEq for TypeLayout {
    fn eq(&self, other: &TypeLayout) -> bool {
        self.encoding == other.encoding && self.bits == other.bits
    }
}

impl Eq for TypeLayout {}

impl Hash for TypeLayout {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.encoding.hash(state);
        self.bits.hash(state);
    }
}

/// Bytes of a mask's words, of which there must be some and not too many.
fn mask_size_bytes(words: usize) -> Result<usize, LayoutError> {
    match words {
        0 => Err(LayoutError::ZeroWords),
        _ if words > WORDS_MAX => Err(LayoutError::TooManyWords { words }),
        _ => Ok(words * WORD_SIZE),
    }
}

#[cfg(test)]
mod tests;
