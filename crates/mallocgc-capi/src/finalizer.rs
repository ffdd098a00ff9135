//! Finalizers with priorities, and cleanups.
//!
//! The library knows one finalizer an object. Here an object has a list of them, and the library's one
//! runs those of the least number; if others are left it is set again, so that they come
//! when the object is unreachable once more.
//!
//! Who wants to run finalizers in a loop of its own pops them: the library runs its finalizer of the object, which
//! then calls none but puts them into a list of the heap, `Popped`. What is in it is alive by a callback of roots.
//!
//! Protection: the lists of a heap are behind a lock, under which the library's
//! finalizer of the object is set or taken away: an object has one exactly if it has a list.

use crate::error::{Outcome, guard, mallocgc_error, mallocgc_error as Code};
use crate::handle::{Context, Data, Lent, lock, mallocgc_heap, mallocgc_mutator, not_null, store};
use crate::slot::{checked, free, give, handle};
use mallocgc::raw::{Cleanup, Mutator, Placement};
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

/// A finalizer: gets a mutator for the call, the object, and its word. It may
/// allocate, collect, set finalizers, and make the object reachable again. It runs on a thread of the
/// heap, or in mallocgc_run_finalizers.
pub type mallocgc_finalizer_fn = Option<
    unsafe extern "C" fn(mutator: *mut mallocgc_mutator, object: *mut c_void, data: *mut c_void),
>;

type FinalizerFn = unsafe extern "C" fn(*mut mallocgc_mutator, *mut c_void, *mut c_void);

/// Finalizers by the address of their object.
#[derive(Default)]
pub(crate) struct Chains {
    by_object: HashMap<usize, Vec<Finalizer>>,
}

/// Finalizers that are due and were taken out of the library's queue, but not popped yet.
#[derive(Default)]
pub(crate) struct Popped {
    due: VecDeque<(NonNull<u8>, Finalizer)>,
    /// Whether the heap visits the objects.
    registered: bool,
}

// SAFETY: objects belong to the heap, and pointers to them may be anywhere.
unsafe impl Send for Popped {}

thread_local! {
    /// Whether finalizers that are run now, on this thread, are to be popped.
    static POPPING: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone, Copy)]
struct Finalizer {
    priority: u32,
    function: FinalizerFn,
    data: Data,
}

/// Lets `finalizer` run once `object` is unreachable; `data` is the program's, and no
/// reference. An object may have several. When it is found unreachable those of the
/// least `priority` run, in the order in which they were set; the others when it is found
/// unreachable again. While something else with a finalizer refers to it, none
/// runs; objects that refer to themselves are never finalized.
///
/// @return mallocgc_error: BAD_ARGUMENT, NOT_ALLOCATED, NOT_AT_BEGINNING, ALREADY_SET, OUT_OF_MEMORY, NO_THREAD, REENTRANT,
/// WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_finalizer_set(
    mutator: *const mallocgc_mutator,
    object: *mut c_void,
    priority: u32,
    finalizer: mallocgc_finalizer_fn,
    data: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { checked(mutator) }?;
        let mutator = handle.get()?;
        let function = finalizer.ok_or(Code::BadArgument)?;
        let object = NonNull::new(object.cast::<u8>()).ok_or(Code::BadArgument)?;
        let finalizer = Finalizer { priority, function, data: Data(data) };
        let mut chains = lock(&handle.context.chains);
        let address = object.as_ptr().addr();
        if !chains.by_object.contains_key(&address)
            && arm(mutator, &handle.context, object)? == Placement::Immortal
        {
            return Ok(());
        }
        chains.by_object.entry(address).or_default().push(finalizer);
        Ok(())
    })
}

/// Sets the library's finalizer of an object.
fn arm(mutator: &Mutator, context: &Arc<Context>, object: NonNull<u8>) -> Outcome<Placement> {
    let context = context.clone();
    let run = move |mutator: &mut Mutator, object| run(mutator, &context, object);
    Ok(mutator.set_finalizer(object, run)?)
}

/// Runs what is due of an object that was found unreachable.
fn run(mutator: &mut Mutator, context: &Arc<Context>, object: NonNull<u8>) {
    let due = {
        let mut chains = lock(&context.chains);
        let address = object.as_ptr().addr();
        let Some(all) = chains.by_object.remove(&address) else { return };
        let least = all.iter().map(|finalizer| finalizer.priority).min();
        let (due, rest): (Vec<_>, Vec<_>) =
            all.iter().copied().partition(|finalizer| Some(finalizer.priority) == least);
        if rest.is_empty() {
            due
        } else if arm(mutator, context, object).is_ok() {
            chains.by_object.insert(address, rest);
            due
        } else {
            // No memory to wait for the next cycle: better now than never.
            let mut all = all;
            all.sort_by_key(|finalizer| finalizer.priority);
            all
        }
    };
    if POPPING.get() {
        return lock(&context.popped).due.extend(due.into_iter().map(|due| (object, due)));
    }
    let lent = Lent::new(mutator, context);
    for finalizer in due {
        // SAFETY: the program's function, with the word it gave; the object lives
        // for the call.
        unsafe {
            (finalizer.function)(lent.handle(), object.as_ptr().cast(), finalizer.data.get());
        }
    }
}

/// Takes all finalizers off an object; how many goes to `*count` unless that is null.
///
/// @return mallocgc_error: BAD_ARGUMENT, NOT_ALLOCATED, NOT_AT_BEGINNING, REENTRANT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_finalizer_clear(
    mutator: *const mallocgc_mutator,
    object: *mut c_void,
    count: *mut usize,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { checked(mutator) }?;
        let mutator = handle.get()?;
        let object = NonNull::new(object.cast::<u8>()).ok_or(Code::BadArgument)?;
        let mut chains = lock(&handle.context.chains);
        mutator.clear_finalizer(object)?;
        let cleared = chains.by_object.remove(&object.as_ptr().addr());
        if !count.is_null() {
            // SAFETY: the caller's promise.
            unsafe { count.write(cleared.map_or(0, |all| all.len())) };
        }
        Ok(())
    })
}

/// Runs up to `most` finalizers that are due, on this thread; how many goes to `*ran` unless that is
/// null. Each is a boundary. Those of one object count as one.
///
/// @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_run_finalizers(
    mutator: *const mallocgc_mutator,
    most: usize,
    ran: *mut usize,
) -> mallocgc_error {
    // SAFETY: passed on.
    unsafe { run_queue(mutator, ran, |mutator| mutator.run_finalizers(most)) }
}

/// Takes the next finalizer that is due, for a program that calls it when and where it likes: its object goes to
/// `*object`, which must be in a root before the next boundary if it is still needed, and function
/// and word to `*finalizer` and `*data`, each unless that is null. A boundary. For heaps whose `background` is 0, since
/// others run their finalizers themselves. Of an object's finalizers that mallocgc_run_finalizers would run together each is popped; once
/// the first was, the others are no more for mallocgc_run_finalizers.
///
/// @return mallocgc_error: NOT_FOUND if none is due; BAD_ARGUMENT, WRONG_THREAD, BUSY; REENTRANT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_finalizer_pop(
    mutator: *const mallocgc_mutator,
    object: *mut *mut c_void,
    finalizer: *mut mallocgc_finalizer_fn,
    data: *mut *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { checked(mutator) }?;
        not_null(object)?;
        let (found, due) = pop(handle)?;
        // SAFETY: the caller's promise.
        unsafe {
            object.write(found.as_ptr().cast());
            if !finalizer.is_null() {
                finalizer.write(Some(due.function));
            }
            if !data.is_null() {
                data.write(due.data.get());
            }
        }
        Ok(())
    })
}

fn pop(handle: &mallocgc_mutator) -> Outcome<(NonNull<u8>, Finalizer)> {
    let context = &handle.context;
    let first = !std::mem::replace(&mut lock(&context.popped).registered, true);
    if first {
        // The heap holds the callback: what it holds must not be the heap.
        let context = context.clone();
        handle.get()?.heap().add_root_callback(move |visitor| {
            for (object, _) in &lock(&context.popped).due {
                visitor.visit(object.as_ptr());
            }
        });
    }
    loop {
        handle.get()?;
        // No boundary lies between this and the return to the program.
        if let Some(due) = lock(&context.popped).due.pop_front() {
            return Ok(due);
        }
        let ran = handle.exclusive(|mutator| {
            POPPING.set(true);
            let ran = mutator.run_finalizers(1);
            POPPING.set(false);
            ran
        })?;
        if ran == 0 {
            return Err(Code::NotFound);
        }
    }
}

/// Runs up to `most` cleanups that are due, as mallocgc_run_finalizers.
///
/// @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_run_cleanups(
    mutator: *const mallocgc_mutator,
    most: usize,
    ran: *mut usize,
) -> mallocgc_error {
    // SAFETY: passed on.
    unsafe { run_queue(mutator, ran, |mutator| mutator.run_cleanups(most)) }
}

/// # Safety
///
/// The pointers are null or right.
unsafe fn run_queue(
    mutator: *const mallocgc_mutator,
    ran: *mut usize,
    run: impl FnOnce(&mut Mutator) -> usize,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let count = unsafe { checked(mutator) }?.exclusive(run)?;
        if !ran.is_null() {
            // SAFETY: the caller's promise.
            unsafe { ran.write(count) };
        }
        Ok(())
    })
}

/// Waits until the heap's threads have run every finalizer and cleanup that is due, at most `nanos`
/// nanoseconds. A boundary.
///
/// @return mallocgc_error: STOP_TIMED_OUT if that passes first; BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_wait(
    mutator: *const mallocgc_mutator,
    nanos: u64,
) -> mallocgc_error {
    guard(|| {
        let limit = Duration::from_nanos(nanos);
        // SAFETY: the caller's promise.
        let idle = unsafe { checked(mutator) }?
            .exclusive(|mutator| mutator.wait_finalizers(limit) && mutator.wait_cleanups(limit))?;
        idle.then_some(()).ok_or(Code::StopTimedOut)
    })
}

/// How many objects' finalizers are due and have not run, those that mallocgc_finalizer_pop has begun counted one by one,
/// and how many cleanups; each pointer may be null. Any thread.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_due(
    heap: *const mallocgc_heap,
    finalizers: *mut u64,
    cleanups: *mut u64,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        let counts = heap.heap.special_counts();
        // SAFETY: the caller's promise.
        unsafe {
            if !finalizers.is_null() {
                let popped = lock(&heap.context.popped).due.len() as u64;
                finalizers.write(counts.finalizers.pending + popped);
            }
            if !cleanups.is_null() {
                cleanups.write(counts.cleanups.pending);
            }
        }
        Ok(())
    })
}

/// A cleanup: gets a mutator for the call, the argument, and its word.
pub type mallocgc_cleanup_fn = mallocgc_finalizer_fn;

/// Names a cleanup, to stop it. It keeps nothing alive.
pub struct mallocgc_cleanup {
    cleanup: Cleanup,
}

handle!(mallocgc_cleanup, 7);

/// Lets `cleanup` run after the object that `object` points at or into is gone; any number can be
/// added. It does not get the object. `argument` is null, or points into another object, which lives until the
/// cleanup has run or is stopped. Its name goes to `*name`, to be freed by mallocgc_cleanup_free,
/// unless that is null.
///
/// @return mallocgc_error: BAD_ARGUMENT, NOT_ALLOCATED, KEEPS_ITSELF, OUT_OF_MEMORY, NO_THREAD, REENTRANT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_cleanup_add(
    mutator: *const mallocgc_mutator,
    object: *mut c_void,
    argument: *mut c_void,
    cleanup: mallocgc_cleanup_fn,
    data: *mut c_void,
    name: *mut *mut mallocgc_cleanup,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { checked(mutator) }?;
        let function = cleanup.ok_or(Code::BadArgument)?;
        let (context, data) = (handle.context.clone(), Data(data));
        let run = move |mutator: &mut Mutator, argument: *mut u8| {
            let lent = Lent::new(mutator, &context);
            // SAFETY: the program's function, with the word it gave.
            unsafe { function(lent.handle(), argument.cast(), data.get()) };
        };
        let mutator = handle.get()?;
        let cleanup = mutator.add_cleanup_with(object.cast(), argument.cast(), run)?;
        if !name.is_null() {
            // SAFETY: the caller's promise.
            unsafe { store(name, give(mallocgc_cleanup { cleanup })) }?;
        }
        Ok(())
    })
}

/// Keeps a cleanup from running. Any thread.
///
/// @return mallocgc_error: NOT_FOUND if it is due, has run or was stopped; BAD_ARGUMENT; WRONG_HEAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_cleanup_stop(
    heap: *const mallocgc_heap,
    name: *const mallocgc_cleanup,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let (heap, name) = unsafe { (checked(heap)?, checked(name)?) };
        if !name.cleanup.is_of(&heap.heap) {
            return Err(Code::WrongHeap);
        }
        name.cleanup.stop(&heap.heap).then_some(()).ok_or(Code::NotFound)
    })
}

/// Frees the name of a cleanup, which runs all the same; null is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_cleanup_free(name: *mut mallocgc_cleanup) {
    // SAFETY: the caller's promise.
    unsafe { free(name) }
}
