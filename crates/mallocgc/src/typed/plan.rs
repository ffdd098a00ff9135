//! How objects of a type lie in the heap: all of it constants.
//!
//! ```text
//! one value            [ value ]
//! with a destructor    [ value | alive ]      if it has references
//! elements by mask     [ elements ]
//! elements by function [ count | elements ]
//! ```
//!
//! A header and a slice are in `header_slice`.
//!
//! `alive` is 1 while the value may be traced. When a cycle finds the object dead the word is cleared,
//! since the value is dropped later and what it refers to may be gone by then. `count` says how many elements
//! were written, and is cleared for the same reason.

use crate::base::WORD_SIZE;
use crate::base::size_class::SizeClass;
use crate::heap::cache::CLEAR_AHEAD_MAX;
use crate::layout::{TraceFn, Tracer, TypeLayout};
use crate::raw::LayoutError;
use crate::typed::trace::Trace;
use ::core::marker::PhantomData;
use ::core::mem::needs_drop;

/// Objects that are described alike, so that they have one layout in a heap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) form: Form,
    /// Bytes of a value or an element, with its `alive`.
    pub(super) bytes: usize,
}

/// Where references are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Mask(u64),
    RepeatedMask(u64),
    /// A mask of the first words, and one that is repeated from there to the end.
    Head(Head),
    Function(TraceFn),
}

/// Where references are that begin with others than they go on with.
///
/// # Invariants
///
/// 1. Both masks are below 2^32, `words` below 2^12 and `element_words` below 2^40.
/// 2. An element has words unless its mask is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    mask: u64,
    words: usize,
    element_mask: u64,
    element_words: usize,
}

impl Form {
    /// A head of `words`, and elements, if their mask is not 0; `None` if that is too much to be told so.
    pub(super) const fn head(
        mask: u64,
        words: usize,
        element_mask: u64,
        element_words: usize,
    ) -> Option<Form> {
        let masks_fit = mask < 1 << 32 && element_mask < 1 << 32;
        let fits = masks_fit && words < 1 << 12 && element_words < 1 << 40;
        if !fits || element_mask != 0 && element_words == 0 {
            return None;
        }
        Some(Form::Head(Head { mask, words, element_mask, element_words }))
    }
}

/// What tells kinds of objects apart: two words that are the same for the same kind.
///
/// ```text
/// first                    second
/// packed: 2^29 to 2^30     0         a mask of 16 bits, and bytes below 4096
/// 2^62 + 2 bytes + form    mask      any other mask
/// 2^61 + words + element   masks     a head and elements: 12, 40 and twice 32 bits
/// ! address of function    bytes     negative as a signed number
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    first: usize,
    second: usize,
}

impl Identity {
    /// No kind's.
    pub(super) const NONE: Identity = Identity { first: 0, second: 0 };

    const fn of_mask(mask: u64, bytes: usize, repeats: usize) -> Identity {
        if mask < 1 << 16 && bytes < 1 << 12 {
            let packed = 1 << 29 | repeats << 28 | bytes << 16 | mask as usize;
            return Identity { first: packed, second: 0 };
        }
        Identity { first: 1 << 62 | bytes << 1 | repeats, second: mask as usize }
    }

    const fn is_packed(self) -> bool {
        self.first < 1 << 30
    }
}

// All of it but the address of a function is constant where the key is.
impl Key {
    /// The identity of the kind.
    #[inline(always)]
    pub(super) fn identity(&self) -> Identity {
        match self.form {
            Form::Mask(mask) => Identity::of_mask(mask, self.bytes, 0),
            Form::RepeatedMask(mask) => Identity::of_mask(mask, self.bytes, 1),
            // Invariant 1 of `Head`.
            Form::Head(head) => Identity {
                first: 1 << 61 | head.words << 40 | head.element_words,
                second: head.mask as usize | (head.element_mask as usize) << 32,
            },
            Form::Function(function) => {
                Identity { first: !(function as usize), second: self.bytes }
            }
        }
    }

    /// Whether that is an identity: one comparison, mostly.
    #[inline(always)]
    pub(super) fn is(&self, other: Identity) -> bool {
        let own = self.identity();
        let is_enough = !matches!(self.form, Form::Function(_)) && own.is_packed();
        own.first == other.first && (is_enough || own.second == other.second)
    }

    /// A number that spreads.
    #[inline(always)]
    pub(super) fn hash(&self) -> usize {
        match self.form {
            // Functions begin at multiples of 16, mostly.
            Form::Function(function) => (function as usize >> 4) ^ (self.bytes >> 3),
            _ => {
                let Identity { first, second } = self.identity();
                (first ^ second).wrapping_mul(0x9E37_79B9) >> 24
            }
        }
    }

    /// The layout of such objects.
    pub(super) fn layout(&self) -> Result<TypeLayout, LayoutError> {
        let words = self.bytes / WORD_SIZE;
        match self.form {
            Form::Mask(0) | Form::RepeatedMask(0) => Ok(TypeLayout::noscan(self.bytes)),
            Form::Mask(mask) => TypeLayout::mask_bits(words, &mask_bits(words, mask)),
            Form::RepeatedMask(mask) => {
                TypeLayout::repeat_bits(0, &[], words, &mask_bits(words, mask))
            }
            Form::Head(Head { mask, words, element_mask: 0, .. }) => {
                TypeLayout::mask_bits(words, &mask_bits(words, mask))
            }
            Form::Head(Head { mask, words, element_mask, element_words }) => {
                let element = mask_bits(element_words, element_mask);
                TypeLayout::repeat_bits(words, &mask_bits(words, mask), element_words, &element)
            }
            Form::Function(function) => Ok(TypeLayout::trace_beside(self.bytes, function)),
        }
    }
}

/// A mask as long as the type, all of whose references are in its first 64 words.
fn mask_bits(words: usize, mask: u64) -> Vec<u64> {
    let mut bits = vec![0; words.div_ceil(u64::BITS as usize)];
    bits[0] = mask;
    bits
}

/// The plan of a type.
pub(super) struct Plan<T>(PhantomData<T>);

impl<'gc, T: Trace<'gc>> Plan<T> {
    /// Whether dropping a value does anything.
    pub(super) const DROPS: bool = needs_drop::<T>();
    const FREE: bool = T::SHAPE.is_free();
    /// Whether objects have the word `alive`.
    pub(super) const HAS_ALIVE: bool = Self::DROPS && !Self::FREE;
    /// Where it is.
    pub(super) const ALIVE_OFFSET: usize = size_of::<T>().next_multiple_of(WORD_SIZE);
    /// Bytes of an object.
    pub(super) const BYTES: usize = match Self::HAS_ALIVE {
        true => Self::ALIVE_OFFSET + WORD_SIZE,
        false => size_of::<T>(),
    };
    /// Bytes of the cell of an object, if it has some, needs no alignment of its own, and comes cleared from the open chunk;
    /// else 0.
    pub(super) const SMALL_CELL: usize = match SizeClass::for_size_align(Self::BYTES, 1) {
        Some(class)
            if Self::BYTES != 0
                && align_of::<T>() <= WORD_SIZE
                && class.cell_size() <= CLEAR_AHEAD_MAX =>
        {
            class.cell_size()
        }
        _ => 0,
    };
    /// Whether arrays have a count before the elements.
    pub(super) const HAS_COUNT: bool = !Self::FREE && (T::SHAPE.mask().is_none() || Self::DROPS);
    /// Where elements begin.
    pub(super) const ELEMENTS_OFFSET: usize = match Self::HAS_COUNT {
        true if align_of::<T>() > WORD_SIZE => align_of::<T>(),
        true => WORD_SIZE,
        false => 0,
    };

    /// The kind of objects with one value.
    pub(super) const KEY: Key = Key {
        form: match T::SHAPE.mask() {
            Some(mask) if !Self::HAS_ALIVE => Form::Mask(mask),
            _ => Form::Function(trace_value::<T>),
        },
        bytes: Self::BYTES,
    };

    /// The kind of arrays.
    pub(super) const ARRAY_KEY: Key = Key {
        form: match T::SHAPE.mask() {
            Some(mask) if !Self::HAS_COUNT => Form::RepeatedMask(mask),
            _ => Form::Function(trace_elements::<T>),
        },
        bytes: size_of::<T>(),
    };
}

/// Traces the value of an object.
unsafe fn trace_value<'gc, T: Trace<'gc>>(object: *mut u8, _: usize, tracer: &mut Tracer<'_>) {
    if Plan::<T>::HAS_ALIVE {
        // SAFETY: the word is part of the object, and written while the world is stopped, or before the first
        // boundary after the object was made, when no marker reads it.
        let alive = unsafe { object.add(Plan::<T>::ALIVE_OFFSET).cast::<usize>().read() };
        if alive == 0 {
            return;
        }
    }
    // SAFETY: an object that a trace function is called for was reached, so it holds a value; what mutators may be
    // changing in it is in cells.
    unsafe { &*object.cast::<T>() }.trace(tracer);
}

/// Traces the elements of an array.
unsafe fn trace_elements<'gc, T: Trace<'gc>>(object: *mut u8, _: usize, tracer: &mut Tracer<'_>) {
    // SAFETY: the count is the object's first word.
    let count = unsafe { object.cast::<usize>().read() };
    // SAFETY: so many elements were written; as in `trace_value`.
    let elements = unsafe {
        ::core::slice::from_raw_parts(object.add(Plan::<T>::ELEMENTS_OFFSET).cast::<T>(), count)
    };
    for element in elements {
        element.trace(tracer);
    }
}

/// Drops the value of an object.
///
/// # Safety
///
/// It is one, and not used any more.
pub(super) unsafe fn drop_value<T>(object: *mut u8, _: usize) {
    // SAFETY: the caller's promise.
    unsafe { object.cast::<T>().drop_in_place() };
}

/// Drops the elements of an array that has a count.
///
/// # Safety
///
/// There are `count`, and nobody uses them any more.
pub(super) unsafe fn drop_elements<'gc, T: Trace<'gc>>(object: *mut u8, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let first = object.add(Plan::<T>::ELEMENTS_OFFSET).cast::<T>();
        ::core::ptr::slice_from_raw_parts_mut(first, count).drop_in_place();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe fn trace(_: *mut u8, _: usize, _: &mut Tracer<'_>) {}

    #[test]
    fn kinds_that_differ_have_identities_that_differ() {
        let mut all = Vec::new();
        for bytes in [0, 8, 16, 4088, 4096, 1 << 20] {
            for mask in [0, 1, 3, (1 << 16) - 1, 1 << 16, u64::MAX] {
                all.push(Key { form: Form::Mask(mask), bytes });
                all.push(Key { form: Form::RepeatedMask(mask), bytes });
            }
            // The bytes of a head are in it.
            for mask in [0, 1, (1 << 32) - 1] {
                let form = Form::head(mask, 64 + bytes / 512, 1, 1 + bytes).unwrap();
                all.push(Key { form, bytes });
                let form = Form::head(1, 64, mask << 1 & 0xFFFF_FFFF, 1 + bytes).unwrap();
                all.push(Key { form, bytes });
            }
            all.push(Key { form: Form::Function(trace), bytes });
        }
        for (i, a) in all.iter().enumerate() {
            assert_ne!(a.identity(), Identity::NONE);
            for (j, b) in all.iter().enumerate() {
                assert_eq!(a.is(b.identity()), i == j, "{a:?}, {b:?}");
            }
        }
    }
}
