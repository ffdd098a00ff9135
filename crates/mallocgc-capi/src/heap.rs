//! Heaps: made and ended, settings that change, memory given back.

use crate::config::{gc_percent, mallocgc_config};
use crate::error::{Outcome, guard, guard_or, mallocgc_error, mallocgc_error as Code};
use crate::handle::{Data, mallocgc_heap, not_null, store};
use crate::slot::{checked, free, give, handle, take};
use mallocgc::base::Address;
use mallocgc::raw::{ClearHookId, Config, Force, Heap};
use std::ffi::c_void;
use std::sync::Arc;

/// The interface's version: major in the upper 16 bits, then minor, then patch, 8
/// bits each. Compare with MALLOCGC_VERSION.
#[unsafe(no_mangle)]
pub extern "C" fn mallocgc_version() -> u32 {
    MALLOCGC_VERSION
}

/// The version of this header, as mallocgc_version gives the library's.
pub const MALLOCGC_VERSION: u32 = 0x0000_0100;

/// How strongly a collection is asked for.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum mallocgc_force {
    /// Only if the heap has reached its trigger.
    IfNeeded = 0,
    /// Whatever the heap's size, also with automatic collection off.
    Now = 1,
    /// As NOW, and everything is swept on return.
    NowAndSweep = 2,
}

pub(crate) fn force(number: u32) -> Outcome<Force> {
    match number {
        0 => Ok(Force::IfNeeded),
        1 => Ok(Force::Now),
        2 => Ok(Force::NowAndSweep),
        _ => Err(Code::BadArgument),
    }
}

/// Makes a heap with the settings of `config`, or the default ones if it is null,
/// and writes its handle to `*heap`. Any thread.
///
/// @return mallocgc_error: BAD_ARGUMENT for a null `heap` or a setting out of range, OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_heap_new(
    config: *const mallocgc_config,
    heap: *mut *mut mallocgc_heap,
) -> mallocgc_error {
    guard(|| {
        not_null(heap)?;
        // SAFETY: the caller's promise.
        let config = match unsafe { config.as_ref() } {
            // SAFETY: the caller's promise.
            Some(config) => unsafe { config.to_config() }?,
            None => Config::default(),
        };
        let made = mallocgc_heap { heap: Heap::new(config)?, context: Arc::default() };
        // SAFETY: the caller's promise.
        unsafe { store(heap, give(made)) }
    })
}

/// Gives a handle back; null is allowed. The heap ends, with all its objects, when
/// its handles, mutators, roots and weak handles are gone; no finalizer
/// runs because of that. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_heap_free(heap: *mut mallocgc_heap) {
    // SAFETY: the caller's promise.
    unsafe { free(heap) }
}

/// Runs a collection from a thread that is no mutator of this heap; `force` is a mallocgc_force.
///
/// @return mallocgc_error: BAD_ARGUMENT, STOP_TIMED_OUT, REENTRANT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_heap_gc(
    heap: *const mallocgc_heap,
    force: u32,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        Ok(heap.heap.gc(self::force(force)?)?)
    })
}

/// Stops the world and checks every structure of the heap, from a thread that is no mutator of
/// it. A fault is written to the log.
///
/// @return mallocgc_error: CORRUPT if there is one; BAD_ARGUMENT, STOP_TIMED_OUT, REENTRANT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_heap_verify(heap: *const mallocgc_heap) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        match heap.heap.verify()? {
            None => Ok(()),
            Some(fault) => {
                eprintln!("mallocgc: {fault}");
                Err(Code::Corrupt)
            }
        }
    })
}

/// Sets the growth over live bytes that starts a cycle, in percent; -1 turns automatic collection
/// off. The old setting goes to `*old` unless that is null. Any thread.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_set_gc_percent(
    heap: *const mallocgc_heap,
    percent: i64,
    old: *mut i64,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        let before = heap.heap.set_gc_percent(gc_percent(percent)?);
        if !old.is_null() {
            // SAFETY: the caller's promise.
            unsafe { store(old, before.map_or(-1, i64::from)) }?;
        }
        Ok(())
    })
}

/// Sets the bytes below which no cycle starts at 100 percent. Any thread.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_set_min_heap_bytes(
    heap: *const mallocgc_heap,
    bytes: u64,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { checked(heap) }?.heap.set_min_heap_bytes(bytes as usize);
        Ok(())
    })
}

/// Sweeps what is unswept and gives every free page back to the system; returns the
/// bytes given back, 0 for a null heap. Collect first to free what is dead. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_release_memory(heap: *const mallocgc_heap) -> usize {
    guard_or(0, || {
        // SAFETY: the caller's promise.
        Ok(unsafe { checked(heap) }?.heap.release_memory())
    })
}

/// A function of the program without arguments but its word.
pub type mallocgc_hook_fn = Option<unsafe extern "C" fn(data: *mut c_void)>;

/// Names a clear hook.
pub struct mallocgc_hook {
    id: ClearHookId,
}

handle!(mallocgc_hook, 8);

/// Lets `hook` run at the start of every cycle with the world stopped, before roots
/// are read: the place to drop what pools keep. On any thread; it must not enter a heap.
/// Its name, for mallocgc_clear_hook_remove, goes to `*name`.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_clear_hook_add(
    heap: *const mallocgc_heap,
    hook: mallocgc_hook_fn,
    data: *mut c_void,
    name: *mut *mut mallocgc_hook,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        not_null(name)?;
        let hook = hook.ok_or(Code::BadArgument)?;
        let data = Data(data);
        // SAFETY: the program's function, with the word it gave.
        let id = heap.heap.add_clear_hook(move || unsafe { hook(data.get()) });
        // SAFETY: the caller's promise.
        unsafe { store(name, give(mallocgc_hook { id })) }
    })
}

/// Forgets a clear hook and frees its name.
///
/// @return mallocgc_error: BAD_ARGUMENT; WRONG_HEAP, and nothing is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_clear_hook_remove(
    heap: *const mallocgc_heap,
    name: *mut mallocgc_hook,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let (heap, hook) = unsafe { (checked(heap)?, checked(name)?) };
        if !heap.heap.remove_clear_hook(hook.id) {
            return Err(Code::WrongHeap);
        }
        // SAFETY: the caller's promise.
        unsafe { take(name) }.map(|_| ())
    })
}

/// The object that an address points at or into: its first byte goes to `*base`, its
/// usable bytes to `*bytes`, each unless null. Any address may be asked about, on any thread.
///
/// @return mallocgc_error: NOT_ALLOCATED if there is none; BAD_ARGUMENT for a null heap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_find_object(
    heap: *const mallocgc_heap,
    address: *const c_void,
    base: *mut *mut c_void,
    bytes: *mut usize,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        let found = heap.heap.find_object(Address::from_ptr(address)).ok_or(Code::NotAllocated)?;
        // SAFETY: the caller's promise.
        unsafe {
            if !base.is_null() {
                base.write(found.base.as_ptr());
            }
            if !bytes.is_null() {
                bytes.write(found.bytes);
            }
        }
        Ok(())
    })
}
