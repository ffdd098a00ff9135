//! How objects of a type lie in the heap: all of it constants.
//!
//! ```text
//! one value            [ value ]
//! with a destructor    [ value | alive ]      if it has references
//! elements by mask     [ elements ]
//! elements by function [ count | elements ]
//! ```
//!
//! `alive` is 1 while the value may be traced. When a cycle finds the object dead the word is cleared,
//! since the value is dropped later and what it refers to may be gone by then. `count` says how many elements
//! were written, and is cleared for the same reason.

use crate::base::WORD_SIZE;
use crate::layout::{TraceFn, Tracer, TypeLayout};
use crate::raw::LayoutError;
use crate::typed::trace::Trace;
use ::core::marker::PhantomData;
use ::core::mem::needs_drop;

/// What tells kinds of objects apart, so that each has one layout in a heap.
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
    Function(TraceFn),
}

impl Key {
    /// Two words and a number that are the same for the same kind.
    #[inline(always)]
    pub(super) fn identity(&self) -> (usize, usize, u8) {
        match self.form {
            Form::Mask(mask) => (mask as usize, self.bytes, 0),
            Form::RepeatedMask(mask) => (mask as usize, self.bytes, 1),
            Form::Function(function) => (function as usize, self.bytes, 2),
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
    /// Whether arrays have a count before the elements.
    pub(super) const HAS_COUNT: bool = !Self::FREE && (T::SHAPE.mask().is_none() || Self::DROPS);
    /// Where elements begin.
    pub(super) const ELEMENTS_OFFSET: usize = match Self::HAS_COUNT {
        true if align_of::<T>() > WORD_SIZE => align_of::<T>(),
        true => WORD_SIZE,
        false => 0,
    };

    /// The kind of objects with one value.
    #[inline(always)]
    pub(super) fn key() -> Key {
        let form = match T::SHAPE.mask() {
            Some(mask) if !Self::HAS_ALIVE => Form::Mask(mask),
            _ => Form::Function(trace_value::<T>),
        };
        Key { form, bytes: Self::BYTES }
    }

    /// The kind of arrays.
    #[inline(always)]
    pub(super) fn array_key() -> Key {
        let form = match T::SHAPE.mask() {
            Some(mask) if !Self::HAS_COUNT => Form::RepeatedMask(mask),
            _ => Form::Function(trace_elements::<T>),
        };
        Key { form, bytes: size_of::<T>() }
    }
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
