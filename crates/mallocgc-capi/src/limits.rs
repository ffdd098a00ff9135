//! Limits, memory outside the heap that counts against them, and the hooks that hear of one that is near.

use crate::error::{Outcome, guard, guard_or, mallocgc_error, mallocgc_error as Code};
use crate::handle::{Data, lock, mallocgc_heap, not_null, store};
use crate::slot::{checked, free, give, handle, take};
use mallocgc::raw::{External, LimitKind, Pressure, PressureHookId};
use std::ffi::c_void;
use std::sync::Mutex;

/// Sets the bytes in spans, and external ones, that allocation never exceeds, UINT64_MAX for none. A limit below
/// what is in use makes allocation fail until enough has been freed. Any thread.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_set_heap_limit_bytes(
    heap: *const mallocgc_heap,
    bytes: u64,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { checked(heap) }?.heap.set_heap_limit_bytes(bytes as usize);
        Ok(())
    })
}

/// Sets the bytes of memory, free pages, tables and external bytes included, that the heap tries not to exceed, UINT64_MAX for
/// none. No allocation fails by it; cycles begin earlier, but take no more than half of the time for it, and free pages are given
/// back. Any thread.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_set_memory_limit_bytes(
    heap: *const mallocgc_heap,
    bytes: u64,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { checked(heap) }?.heap.set_memory_limit_bytes(bytes as usize);
        Ok(())
    })
}

/// The memory limit in force: what was set, or the control group's part if that is smaller; UINT64_MAX for
/// none, 0 for a null heap. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_memory_limit_bytes(heap: *const mallocgc_heap) -> u64 {
    guard_or(0, || {
        // SAFETY: the caller's promise.
        Ok(unsafe { checked(heap) }?.heap.memory_limit_bytes() as u64)
    })
}

/// Reads the control group's limit again, which may change while a program runs, if `cgroup_percent` of the
/// settings asks for it. The memory limit in force goes to `*bytes` unless that is null. Any thread.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_update_cgroup_limit(
    heap: *const mallocgc_heap,
    bytes: *mut u64,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let limit = unsafe { checked(heap) }?.heap.update_cgroup_limit();
        if !bytes.is_null() {
            // SAFETY: the caller's promise.
            unsafe { bytes.write(limit as u64) };
        }
        Ok(())
    })
}

/// Says that so many bytes outside the heap go when an object goes: the buffer of a vector, a
/// texture, a mapped file. They count wherever bytes of objects do: to the next cycle and
/// to both limits. It does not keep the heap.
pub struct mallocgc_external {
    external: Mutex<External>,
}

handle!(mallocgc_external, 9);

/// # Safety
///
/// The pointers are null or right.
unsafe fn count(
    heap: *const mallocgc_heap,
    external: *mut *mut mallocgc_external,
    count: impl FnOnce(&mallocgc::raw::Heap) -> Outcome<External>,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        not_null(external)?;
        let made = mallocgc_external { external: Mutex::new(count(&heap.heap)?) };
        // SAFETY: the caller's promise.
        unsafe { store(external, give(made)) }
    })
}

/// Counts `bytes` outside the heap, which exist already: they count whatever the limits are, and allocation
/// fails first when they are too many. Any thread, as for all functions of external bytes: in finalizers
/// and callbacks, and after the heap.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_external_new(
    heap: *const mallocgc_heap,
    bytes: usize,
    external: *mut *mut mallocgc_external,
) -> mallocgc_error {
    // SAFETY: passed on.
    unsafe { count(heap, external, |heap| Ok(heap.external(bytes))) }
}

/// Counts `bytes` outside the heap that are about to be made, if the heap limit leaves room for them.
///
/// @return mallocgc_error: LIMIT_REACHED, and nothing is counted; BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_external_try_new(
    heap: *const mallocgc_heap,
    bytes: usize,
    external: *mut *mut mallocgc_external,
) -> mallocgc_error {
    // SAFETY: passed on.
    unsafe { count(heap, external, |heap| Ok(heap.try_external(bytes)?)) }
}

/// The bytes stated last; 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_external_bytes(external: *const mallocgc_external) -> usize {
    guard_or(0, || {
        // SAFETY: the caller's promise.
        Ok(lock(&unsafe { checked(external) }?.external).bytes())
    })
}

/// States another number of bytes, which are there already.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_external_resize(
    external: *const mallocgc_external,
    bytes: usize,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        lock(&unsafe { checked(external) }?.external).resize(bytes);
        Ok(())
    })
}

/// States another number of bytes: more are about to be made, fewer are gone.
///
/// @return mallocgc_error: LIMIT_REACHED when the heap limit leaves no room for the difference, and the old number
/// stands; BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_external_try_resize(
    external: *const mallocgc_external,
    bytes: usize,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        Ok(lock(&unsafe { checked(external) }?.external).try_resize(bytes)?)
    })
}

/// The bytes are gone: they count no more. Null is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_external_free(external: *mut mallocgc_external) {
    // SAFETY: the caller's promise.
    unsafe { free(external) }
}

/// Which limit is near.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum mallocgc_limit_kind {
    /// The heap limit: allocation will fail.
    Heap = 0,
    /// The memory limit: cycles will follow each other.
    Memory = 1,
    /// Of a kind that this header does not know.
    Other = 2,
}

/// A limit that is near, and what counts against it. Valid during the call of the hook.
#[repr(C)]
pub struct mallocgc_pressure {
    /// The limit.
    pub kind: mallocgc_limit_kind,
    /// Bytes that count against it.
    pub current_bytes: u64,
    /// Its bytes.
    pub limit_bytes: u64,
}

/// Is told that a limit is near: the place to drop what can be made again. On a mutator's thread, at a
/// boundary, or before an allocation with MALLOCGC_FLAGS_SAFEPOINT fails; at most once for each cycle. It may read objects and free roots; it
/// must not enter a heap.
pub type mallocgc_pressure_fn =
    Option<unsafe extern "C" fn(data: *mut c_void, pressure: *const mallocgc_pressure)>;

/// Names a pressure hook.
pub struct mallocgc_pressure_hook {
    id: PressureHookId,
}

handle!(mallocgc_pressure_hook, 10);

impl From<&Pressure> for mallocgc_pressure {
    fn from(pressure: &Pressure) -> mallocgc_pressure {
        mallocgc_pressure {
            kind: match pressure.kind {
                LimitKind::Heap => mallocgc_limit_kind::Heap,
                LimitKind::Memory => mallocgc_limit_kind::Memory,
                _ => mallocgc_limit_kind::Other,
            },
            current_bytes: pressure.current_bytes,
            limit_bytes: pressure.limit_bytes,
        }
    }
}

/// Registers a pressure hook, until its name, which goes to `*name`, is given to mallocgc_pressure_hook_remove. Any
/// thread.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_pressure_hook_add(
    heap: *const mallocgc_heap,
    hook: mallocgc_pressure_fn,
    data: *mut c_void,
    name: *mut *mut mallocgc_pressure_hook,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        not_null(name)?;
        let hook = hook.ok_or(Code::BadArgument)?;
        let data = Data(data);
        let id = heap.heap.add_pressure_hook(move |pressure| {
            // SAFETY: the program's function, with the word it gave.
            unsafe { hook(data.get(), &pressure.into()) };
        });
        // SAFETY: the caller's promise.
        unsafe { store(name, give(mallocgc_pressure_hook { id })) }
    })
}

/// Forgets a pressure hook and frees its name. It may still run on another thread when this returns. Any thread.
///
/// @return mallocgc_error: BAD_ARGUMENT; WRONG_HEAP, and nothing is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_pressure_hook_remove(
    heap: *const mallocgc_heap,
    name: *mut mallocgc_pressure_hook,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let (heap, hook) = unsafe { (checked(heap)?, checked(name)?) };
        if !heap.heap.remove_pressure_hook(hook.id) {
            return Err(Code::WrongHeap);
        }
        // SAFETY: the caller's promise.
        unsafe { take(name) }.map(|_| ())
    })
}
