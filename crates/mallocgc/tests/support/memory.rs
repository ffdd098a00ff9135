//! Reading and writing objects in tests.
//!
//! These functions are not marked unsafe, so that a test reads as what it
//! tests. What they owe is said once, here: a test passes only objects that are
//! alive at that moment, and offsets inside them.

use mallocgc::raw::Mutator;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicU8, AtomicUsize,
    Ordering::{Relaxed, Release},
};

pub(crate) type Object = NonNull<u8>;

fn word_at<'a>(object: Object, index: usize) -> &'a AtomicUsize {
    // SAFETY: the module's rule; objects are aligned to words from 8 bytes on.
    unsafe { AtomicUsize::from_ptr(object.as_ptr().cast::<usize>().add(index)) }
}

/// A word of an object.
pub(crate) fn word(object: Object, index: usize) -> usize {
    word_at(object, index).load(Relaxed)
}

/// Writes a word that holds no reference.
pub(crate) fn set_word(object: Object, index: usize, value: usize) {
    word_at(object, index).store(value, Relaxed);
}

/// The reference in a word of an object.
pub(crate) fn reference(object: Object, index: usize) -> Option<Object> {
    NonNull::new(std::ptr::with_exposed_provenance_mut(word(object, index)))
}

/// Stores a reference.
pub(crate) fn link(mutator: &Mutator, from: Object, index: usize, to: Object) {
    // SAFETY: the module's rule.
    unsafe { mutator.write(from.as_ptr().cast::<*mut u8>().add(index), to.as_ptr()) };
}

/// Stores null.
pub(crate) fn unlink(mutator: &Mutator, from: Object, index: usize) {
    // SAFETY: the module's rule.
    unsafe { mutator.write(from.as_ptr().cast::<*mut u8>().add(index), std::ptr::null_mut()) };
}

/// Stores null with the barrier for a part of an object, and a store of our own.
pub(crate) fn unlink_after_barrier(mutator: &Mutator, from: Object, index: usize) {
    // SAFETY: the module's rule.
    unsafe {
        mutator.pre_write_object(from, index * 8..index * 8 + 8);
        AtomicUsize::from_ptr(from.as_ptr().cast::<usize>().add(index)).store(0, Release);
    }
}

fn byte_at<'a>(object: Object, index: usize) -> &'a AtomicU8 {
    // SAFETY: the module's rule.
    unsafe { AtomicU8::from_ptr(object.as_ptr().add(index)) }
}

/// A byte of an object.
pub(crate) fn byte(object: Object, index: usize) -> u8 {
    byte_at(object, index).load(Relaxed)
}

/// Writes a byte.
pub(crate) fn set_byte(object: Object, index: usize, value: u8) {
    byte_at(object, index).store(value, Relaxed);
}

/// Writes `bytes` bytes of one value.
pub(crate) fn fill(object: Object, bytes: usize, value: u8) {
    // SAFETY: the module's rule.
    unsafe { object.write_bytes(value, bytes) };
}

/// Whether `bytes` bytes have this value.
pub(crate) fn is_filled(object: Object, bytes: usize, value: u8) -> bool {
    // SAFETY: the module's rule; nobody writes the object meanwhile.
    unsafe { std::slice::from_raw_parts(object.as_ptr(), bytes) }.iter().all(|&it| it == value)
}

/// The object's address as a number.
pub(crate) fn number(object: Object) -> usize {
    object.as_ptr().expose_provenance()
}

/// The object at an address that was one.
pub(crate) fn object(number: usize) -> Object {
    NonNull::new(std::ptr::with_exposed_provenance_mut(number)).expect("objects are not at zero")
}

/// The pointer `bytes` into an object.
pub(crate) fn inside(object: Object, bytes: usize) -> Object {
    // SAFETY: the module's rule.
    unsafe { object.add(bytes) }
}
