//! Reclaim hooks: a function of the program asked before an object goes.
//!
//! Objects of kinds with a hook are listed. A cycle that finds one dead keeps
//! it, with what it refers to if the kind says so, and when threads run again the
//! hook is asked: an object that is given up is forgotten, and the next cycle
//! frees it.
//!
//! Protection: the lock, held while hooks run, as in the original.

use crate::alloc;
use crate::kinds::GC_new_kind;
use crate::state::{heap, state};
use crate::{init, lock, say};
use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use libc::c_int;
use mallocgc::raw::AmbiguousMarker;

/// A listed object, and its kind.
#[derive(Clone, Copy)]
pub struct Disclaimed {
    object: usize,
    kind: usize,
}

type DisclaimFn = unsafe extern "C" fn(*mut c_void) -> c_int;

/// `struct GC_finalizer_closure`.
#[repr(C)]
pub struct Closure {
    function: unsafe extern "C" fn(*mut c_void, *mut c_void),
    data: *mut c_void,
}

/// Marks a word that names a closure, and not a link of a free list.
const CLOSURE_FLAG: usize = 1;
static FINALIZED_KIND: AtomicUsize = AtomicUsize::new(0);

/// There has been such an object: freeing explicitly must look.
pub static HAS_ANY: AtomicUsize = AtomicUsize::new(0);

pub unsafe fn register(object: usize, kind: usize) {
    // Relaxed: who frees the object has it from here.
    HAS_ANY.store(1, Relaxed);
    let _held = lock::lock();
    let state = state();
    state.disclaimed.push(Disclaimed { object, kind });
    if state.disclaim_indexed {
        state.disclaim_index.insert(object, ());
    }
}

/// An object is freed by the program: if it is listed, nobody is asked.
pub unsafe fn forget_object(object: usize) {
    let _held = lock::lock();
    let state = state();
    if !state.disclaim_indexed {
        // Few programs do both.
        state.disclaim_indexed = true;
        for entry in state.disclaimed.as_slice() {
            state.disclaim_index.insert(entry.object, ());
        }
    }
    if state.disclaim_index.remove(object).is_some() {
        let freed = state.disclaim_freed.get(object).map_or(0, |&mut count| count);
        state.disclaim_freed.insert(object, freed + 1);
    }
}

pub unsafe fn decide(marker: &mut dyn AmbiguousMarker) {
    let state = state();
    let (kinds, queue) = (&state.kinds, &mut state.disclaim_queue);
    let (index, freed) = (&mut state.disclaim_index, &mut state.disclaim_freed);
    if freed.len() != 0 {
        // In the order of allocation, so the older of two at one address goes.
        state.disclaimed.retain(|entry| match freed.get(entry.object) {
            Some(count) => {
                *count -= 1;
                if *count == 0 {
                    freed.remove(entry.object);
                }
                false
            }
            None => true,
        });
    }
    // Who waits for being asked since an earlier cycle comes before what it refers to.
    for entry in queue.as_slice() {
        marker.visit(entry.object);
    }
    marker.drain();
    let asked = queue.len();
    // What a dead one refers to is asked about later, as with finalizers.
    for entry in state.disclaimed.as_slice() {
        if kinds.as_slice()[entry.kind].mark_from_dead && !marker.is_marked(entry.object) {
            marker.scan(entry.object);
        }
    }
    marker.drain();
    state.disclaimed.retain(|entry| {
        let alive = marker.is_marked(entry.object);
        if !alive {
            queue.push(*entry);
            index.remove(entry.object);
        }
        alive
    });
    for entry in &queue.as_slice()[asked..] {
        marker.visit(entry.object);
    }
    marker.drain();
}

/// Asks about what the last cycle found dead. The world runs.
pub unsafe fn run_queue() {
    let _held = lock::lock();
    loop {
        let state = state();
        let Some(&entry) = state.disclaim_queue.as_slice().last() else { return };
        let last = state.disclaim_queue.len() - 1;
        state.disclaim_queue.truncate(last);
        let hook = state.kinds.as_slice()[entry.kind].disclaim;
        let hook: DisclaimFn = core::mem::transmute(hook);
        if hook(entry.object as *mut c_void) != 0 {
            register(entry.object, entry.kind);
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_disclaim_proc(
    kind: c_int,
    hook: usize,
    mark_from_dead: c_int,
) {
    init::ensure();
    let _held = lock::lock();
    let kinds = state().kinds.as_mut_slice();
    let Some(kind) = kinds.get_mut(kind as usize) else {
        say::abort(format_args!("GC_register_disclaim_proc: there is no kind {kind}"));
    };
    kind.disclaim = hook;
    kind.mark_from_dead = mark_from_dead != 0;
}

unsafe extern "C" fn finalize(object: *mut c_void) -> c_int {
    let word = *object.cast::<usize>();
    if word & CLOSURE_FLAG != 0 {
        let closure = (word & !CLOSURE_FLAG) as *const Closure;
        *object.cast::<usize>() = 0;
        ((*closure).function)(object.cast::<usize>().add(1).cast(), (*closure).data);
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_init_finalized_malloc() {
    init::ensure();
    let _held = lock::lock();
    if FINALIZED_KIND.load(Relaxed) != 0 {
        return;
    }
    // The object begins behind the closure's word.
    heap().ambiguous().register(8);
    heap().ambiguous().register(CLOSURE_FLAG);
    let kind = GC_new_kind(null_mut(), 0, 1, 1);
    GC_register_disclaim_proc(kind as c_int, finalize as *const () as usize, 1);
    FINALIZED_KIND.store(kind as usize, Relaxed);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_finalized_malloc(bytes: usize, closure: *const Closure) -> *mut c_void {
    if FINALIZED_KIND.load(Relaxed) == 0 {
        GC_init_finalized_malloc();
    }
    let Some(request) = bytes.checked_add(8) else { return null_mut() };
    let object = alloc::described(request, alloc::any_word()).cast::<usize>();
    if object.is_null() {
        return null_mut();
    }
    *object = closure as usize | CLOSURE_FLAG;
    register(object as usize, FINALIZED_KIND.load(Relaxed));
    object.add(1).cast()
}
