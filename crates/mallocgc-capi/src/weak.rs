//! Weak handles and ephemerons.

use crate::error::{Outcome, guard, guard_or, mallocgc_error, mallocgc_error as Code};
use crate::handle::{mallocgc_mutator, not_null, store};
use crate::slot::{checked, free, give, handle};
use mallocgc::base::Address;
use mallocgc::raw::{Ephemeron, Mutator, Weak};
use std::ffi::c_void;
use std::ptr::NonNull;

/// A weak handle: names an object, or a place in it, without keeping it alive. It
/// keeps the heap.
pub struct mallocgc_weak {
    weak: Weak,
    /// Where the heap of the handle is told apart from others.
    heap: mallocgc::raw::Heap,
}

handle!(mallocgc_weak, 6);

/// Makes a weak handle to the object that `object` points at or into, to be freed by mallocgc_weak_free. It is
/// cleared when the object is gone, and before that when its finalizer is due.
///
/// @return mallocgc_error: BAD_ARGUMENT, NOT_ALLOCATED, OUT_OF_MEMORY, REENTRANT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_weak_new(
    mutator: *const mallocgc_mutator,
    object: *mut c_void,
    weak: *mut *mut mallocgc_weak,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let mutator = unsafe { checked(mutator) }?.get()?;
        not_null(weak)?;
        let object = NonNull::new(object.cast::<u8>()).ok_or(Code::BadArgument)?;
        let (made, _) = mutator.weak(object)?;
        let made = mallocgc_weak { weak: made, heap: mutator.heap().clone() };
        // SAFETY: the caller's promise.
        unsafe { store(weak, give(made)) }
    })
}

/// The object of a weak handle, with a mutator of its heap; null when it is gone. Put it into a
/// root before the next boundary.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_weak_get(
    mutator: *const mallocgc_mutator,
    weak: *const mallocgc_weak,
) -> *mut c_void {
    guard_or(std::ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        let (mutator, weak) = unsafe { (checked(mutator)?.get()?, checked(weak)?) };
        if !weak.heap.is_same(mutator.heap()) {
            return Err(Code::WrongHeap);
        }
        Ok(weak.weak.get(mutator).map_or(std::ptr::null_mut(), |object| object.as_ptr().cast()))
    })
}

/// Whether two weak handles name the same place, also after its object's death: 1 or 0. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_weak_equal(
    one: *const mallocgc_weak,
    other: *const mallocgc_weak,
) -> i32 {
    guard_or(0, || {
        // SAFETY: the caller's promise.
        let (one, other) = unsafe { (checked(one)?, checked(other)?) };
        Ok(i32::from(one.weak == other.weak))
    })
}

/// Frees a weak handle; null is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_weak_free(weak: *mut mallocgc_weak) {
    // SAFETY: the caller's promise.
    unsafe { free(weak) }
}

/// Makes an ephemeron, an object of the heap: as long as it and `key` live, so does `value`,
/// which may be null. What only the value reaches does not keep the key. When the key is found dead, both are
/// cleared. The ephemeron may be stored and rooted as any object.
///
/// Null on failure, see mallocgc_last_error: BAD_ARGUMENT, NOT_ALLOCATED, OUT_OF_MEMORY, LIMIT_REACHED, REENTRANT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_ephemeron_new(
    mutator: *const mallocgc_mutator,
    key: *mut c_void,
    value: *mut c_void,
) -> *mut c_void {
    guard_or(std::ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        let mutator = unsafe { checked(mutator) }?.get()?;
        let key = NonNull::new(key.cast()).ok_or(Code::BadArgument)?;
        Ok(mutator.ephemeron(key, value.cast())?.as_ptr().as_ptr().cast())
    })
}

/// The mutator, and the ephemeron at an address.
///
/// # Safety
///
/// The mutator is null or a handle.
unsafe fn ephemeron<'m>(
    mutator: *const mallocgc_mutator,
    ephemeron: *const c_void,
) -> Outcome<(&'m Mutator, Ephemeron)> {
    // SAFETY: the caller's promise.
    let mutator = unsafe { checked(mutator) }?.get()?;
    let found = mutator.find_ephemeron(Address::from_ptr(ephemeron)).ok_or(Code::NotFound)?;
    Ok((mutator, found))
}

/// The key; null when it is gone, or when there is no ephemeron at the address. Put
/// it into a root before the next boundary.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_ephemeron_key(
    mutator: *const mallocgc_mutator,
    ephemeron: *const c_void,
) -> *mut c_void {
    guard_or(std::ptr::null_mut(), || {
        // SAFETY: the caller's promise; the ephemeron was found alive.
        unsafe {
            let (mutator, ephemeron) = self::ephemeron(mutator, ephemeron)?;
            Ok(pointer(ephemeron.key(mutator)))
        }
    })
}

/// The value; null when there is none, and as mallocgc_ephemeron_key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_ephemeron_value(
    mutator: *const mallocgc_mutator,
    ephemeron: *const c_void,
) -> *mut c_void {
    guard_or(std::ptr::null_mut(), || {
        // SAFETY: the caller's promise; the ephemeron was found alive.
        unsafe {
            let (mutator, ephemeron) = self::ephemeron(mutator, ephemeron)?;
            Ok(pointer(ephemeron.value(mutator)))
        }
    })
}

fn pointer(object: Option<NonNull<u8>>) -> *mut c_void {
    object.map_or(std::ptr::null_mut(), |object| object.as_ptr().cast())
}

/// Exchanges the value, which may be null.
///
/// @return mallocgc_error: NOT_FOUND if there is no ephemeron, CLEARED, NOT_ALLOCATED, BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_ephemeron_set_value(
    mutator: *const mallocgc_mutator,
    ephemeron: *mut c_void,
    value: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise; the ephemeron was found alive.
        unsafe {
            let (mutator, ephemeron) = self::ephemeron(mutator, ephemeron)?;
            Ok(ephemeron.set_value(mutator, value.cast())?)
        }
    })
}

/// Takes key and value away, as if the key had died.
///
/// @return mallocgc_error: NOT_FOUND if there is no ephemeron, BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_ephemeron_clear(
    mutator: *const mallocgc_mutator,
    ephemeron: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise; the ephemeron was found alive.
        unsafe {
            let (mutator, ephemeron) = self::ephemeron(mutator, ephemeron)?;
            ephemeron.clear(mutator);
        }
        Ok(())
    })
}
