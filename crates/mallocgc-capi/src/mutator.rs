//! Mutators: attached and detached, boundaries, the write barrier.

use crate::error::{guard, guard_or, mallocgc_error, mallocgc_error as Code, note};
use crate::handle::{Data, Tenure, mallocgc_heap, mallocgc_mutator, not_null, store, unusable};
use crate::heap::{force, mallocgc_hook_fn};
use crate::slot::{checked, give, take};
use mallocgc::base::Address;
use mallocgc::raw::{Mutator, Step};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

/// Makes the calling thread a mutator of the heap and writes the handle to `*mutator`. It is
/// used on this thread only, and keeps the heap.
///
/// @return mallocgc_error: BAD_ARGUMENT, ALREADY_ATTACHED, OUT_OF_MEMORY, REENTRANT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_attach(
    heap: *const mallocgc_heap,
    mutator: *mut *mut mallocgc_mutator,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        not_null(mutator)?;
        let attached = Box::new(heap.heap.attach()?);
        let attached = Box::into_raw(attached);
        // SAFETY: `mallocgc_detach` retires the handle before the mutator ends.
        let handle = unsafe { mallocgc_mutator::new(attached, &heap.context, Tenure::Attached) };
        // SAFETY: the caller's promise.
        unsafe { store(mutator, give(handle)) }
    })
}

/// Detaches the thread and frees the handle; null is allowed.
///
/// @return mallocgc_error: BAD_ARGUMENT for the mutator that a finalizer or a cleanup was given, WRONG_THREAD, BUSY; nothing has happened then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_detach(mutator: *mut mallocgc_mutator) -> mallocgc_error {
    guard(|| {
        if mutator.is_null() {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        let handle = unsafe { checked(mutator) }?;
        handle.get()?;
        if handle.tenure == Tenure::Lent {
            return Err(Code::BadArgument);
        }
        let owned: *mut Mutator = handle.active.get();
        // SAFETY: the caller's promise.
        drop(unsafe { take(mutator) }?);
        // SAFETY: made by `mallocgc_attach`, and nobody else's: the handle is gone.
        drop(unsafe { Box::from_raw(owned) });
        Ok(())
    })
}

/// A handle to the mutator's heap goes to `*heap`, to be given back by mallocgc_heap_free.
///
/// @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_mutator_heap(
    mutator: *const mallocgc_mutator,
    heap: *mut *mut mallocgc_heap,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let mutator = unsafe { checked(mutator) }?;
        not_null(heap)?;
        let made = mallocgc_heap {
            heap: mutator.get()?.heap().clone(),
            context: Arc::clone(&mutator.context),
        };
        // SAFETY: the caller's promise.
        unsafe { store(heap, give(made)) }
    })
}

/// A boundary: runs a cycle that is due, and waits while others have stopped the world.
/// Every reference the thread still needs must be in a root. Cheap enough for
/// every turn of a loop.
///
/// @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_poll(mutator: *const mallocgc_mutator) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { checked(mutator) }?.at_boundary(Mutator::poll)
    })
}

/// Runs a collection; a boundary. `force` is a mallocgc_force.
///
/// @return mallocgc_error: STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_gc(
    mutator: *const mallocgc_mutator,
    force: u32,
) -> mallocgc_error {
    guard(|| {
        let force = self::force(force)?;
        // SAFETY: the caller's promise.
        unsafe { checked(mutator) }?.at_boundary(|mutator| mutator.gc(force))??;
        Ok(())
    })
}

/// How far a step has brought a collection.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum mallocgc_progress {
    /// None is due.
    Idle = 0,
    /// A cycle is open: there is more to mark.
    Marking = 1,
    /// A cycle has ended.
    Finished = 2,
}

/// A boundary at which the owner of a heap without threads gives the collector some time: begins a cycle that is
/// due, or that `force`, a mallocgc_force, asks for; goes on with an open one until about `budget_bytes` of objects were scanned; ends it when
/// everything is marked. A heap that is not marked beside its mutators (concurrent_from_bytes) does a whole
/// cycle in one step. How far it came, a mallocgc_progress, goes to `*progress` unless that is null.
///
/// @return mallocgc_error: STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_step(
    mutator: *const mallocgc_mutator,
    force: u32,
    budget_bytes: usize,
    progress: *mut mallocgc_progress,
) -> mallocgc_error {
    guard(|| {
        let force = self::force(force)?;
        // SAFETY: the caller's promise.
        let mutator = unsafe { checked(mutator) }?;
        let step = match mutator.at_boundary(|mutator| mutator.step(force, budget_bytes))?? {
            Step::Idle => mallocgc_progress::Idle,
            Step::Marking => mallocgc_progress::Marking,
            Step::Finished => mallocgc_progress::Finished,
        };
        if !progress.is_null() {
            // SAFETY: the caller's promise.
            unsafe { progress.write(step) };
        }
        Ok(())
    })
}

/// Checks the heap as mallocgc_heap_verify does; a boundary.
///
/// @return mallocgc_error: CORRUPT, STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_verify(mutator: *const mallocgc_mutator) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let fault = unsafe { checked(mutator) }?.at_boundary(Mutator::verify)??;
        match fault {
            None => Ok(()),
            Some(fault) => {
                eprintln!("mallocgc: {fault}");
                Err(Code::Corrupt)
            }
        }
    })
}

/// Calls `function`, which touches neither the heap nor its objects, while the thread counts as
/// stopped: for system calls, waiting, long computations. A boundary.
///
/// @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY; the function was not called then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_blocking(
    mutator: *const mallocgc_mutator,
    function: mallocgc_hook_fn,
    data: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        let function = function.ok_or(Code::BadArgument)?;
        let data = Data(data);
        // SAFETY: the caller's promise.
        let mutator = unsafe { checked(mutator) }?;
        // SAFETY: the program's function, with the word it gave.
        mutator.exclusive(|mutator| mutator.blocking(|| unsafe { function(data.get()) }))
    })
}

/// Stores a reference into a word of an object or of a root range: with the write
/// barrier. `value` is null, or leads into an object of this heap, or out of it. With a
/// mutator that cannot be used or a null slot nothing is stored, and the code is noted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_write(
    mutator: *const mallocgc_mutator,
    slot: *mut *mut c_void,
    value: *mut c_void,
) {
    // SAFETY: the caller's promise.
    match unsafe { active(mutator) } {
        // SAFETY: the caller's promise.
        Some(active) if !slot.is_null() => unsafe { active.write(slot.cast(), value.cast()) },
        None => {
            note(unusable(mutator));
        }
        Some(_) => {
            note(Code::BadArgument);
        }
    }
}

/// The mutator of a handle that can be used now, for functions without a code.
///
/// # Safety
///
/// It is null or a handle.
#[inline(always)]
unsafe fn active<'m>(mutator: *const mallocgc_mutator) -> Option<&'m Mutator> {
    // SAFETY: the caller's promise; a mutator in use is null there.
    unsafe { mutator.as_ref().and_then(|handle| handle.active.get().as_ref()) }
}

/// Must be called before the program itself writes a reference word: the first half
/// of mallocgc_write, for who stores in another way. The store is atomic, with release order, and there is no
/// boundary in between.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_pre_write(
    mutator: *const mallocgc_mutator,
    slot: *mut *mut c_void,
) {
    // SAFETY: the caller's promise.
    match unsafe { active(mutator) } {
        // SAFETY: the caller's promise.
        Some(active) if !slot.is_null() => unsafe { active.pre_write(slot.cast()) },
        None => {
            note(unusable(mutator));
        }
        Some(_) => {
            note(Code::BadArgument);
        }
    }
}

/// As mallocgc_pre_write, for `count` words side by side.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_pre_write_range(
    mutator: *const mallocgc_mutator,
    slots: *mut *mut c_void,
    count: usize,
) {
    // SAFETY: the caller's promise.
    match unsafe { active(mutator) } {
        Some(active) if !slots.is_null() || count == 0 => {
            // SAFETY: the caller's promise.
            unsafe { active.pre_write_range(slots.cast(), count) }
        }
        None => {
            note(unusable(mutator));
        }
        Some(_) => {
            note(Code::BadArgument);
        }
    }
}

/// As mallocgc_pre_write, for the references in the bytes `from` to `to` of an object, wherever its layout has
/// them: before memset, memcpy and the like. `object` is its first byte. Where a trace function tells, all of the object
/// may be changed until the next boundary.
///
/// @return mallocgc_error: NOT_ALLOCATED, NOT_AT_BEGINNING, BAD_ARGUMENT for `from` behind `to`, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_pre_write_object(
    mutator: *const mallocgc_mutator,
    object: *mut c_void,
    from: usize,
    to: usize,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let mutator = unsafe { checked(mutator) }?.get()?;
        let object = NonNull::new(object.cast::<u8>()).ok_or(Code::BadArgument)?;
        if from > to {
            return Err(Code::BadArgument);
        }
        let address = Address::from_ptr(object.as_ptr());
        let found = mutator.heap().find_object(address).ok_or(Code::NotAllocated)?;
        if found.base != address {
            return Err(Code::NotAtBeginning);
        }
        // SAFETY: the caller's promise, and an object begins there.
        unsafe { mutator.pre_write_object(object, from..to) };
        Ok(())
    })
}

/// Copies `count` references from one place to another, which may overlap, with the
/// write barrier.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_write_range(
    mutator: *const mallocgc_mutator,
    to: *mut *mut c_void,
    from: *const *mut c_void,
    count: usize,
) {
    // SAFETY: the caller's promise.
    match unsafe { active(mutator) } {
        Some(active) if count == 0 || (!to.is_null() && !from.is_null()) => {
            // SAFETY: the caller's promise.
            unsafe { active.write_range(to.cast(), from.cast(), count) }
        }
        None => {
            note(unusable(mutator));
        }
        Some(_) => {
            note(Code::BadArgument);
        }
    }
}

/// Whether the calling thread may use this mutator now: it is its own, and not in use
/// further up the stack. 1 or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_is_usable(mutator: *const mallocgc_mutator) -> i32 {
    guard_or(0, || {
        // SAFETY: the caller's promise.
        Ok(i32::from(unsafe { checked(mutator) }?.get().is_ok()))
    })
}
