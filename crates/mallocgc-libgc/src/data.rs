//! The exported variables, and the hooks that have setters only.
//!
//! A program reaches a variable through the global offset table, or has a copy
//! of it in its own data. Either way the library must read the same place, so
//! every access here goes through the table as well: the symbols are
//! preemptible, and [`read`] is volatile.
//!
//! Protection: plain words that programs write when they like, as the
//! interface has it; the hooks are atomic.

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicI32, AtomicUsize};
use libc::{c_char, c_int, c_ulong};

pub type Word = usize;
pub type Hook = Option<unsafe extern "C" fn()>;
pub type OomFn = Option<unsafe extern "C" fn(usize) -> *mut c_void>;
pub type AbortFn = Option<unsafe extern "C" fn(*const c_char)>;
pub type ResizeFn = Option<unsafe extern "C" fn(Word)>;
pub type PrintFn = Option<unsafe extern "C" fn(*mut c_void)>;
pub type PrintTwoFn = Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>;

macro_rules! variables {
    ($($name:ident: $type:ty = $value:expr;)*) => {
        $(#[unsafe(no_mangle)] pub static mut $name: $type = $value;)*
    };
}

variables! {
    GC_all_interior_pointers: c_int = 1;
    GC_dont_expand: c_int = 0;
    GC_dont_gc: c_int = 0;
    GC_dont_precollect: c_int = 0;
    GC_finalize_on_demand: c_int = 0;
    GC_find_leak: c_int = 0;
    GC_free_space_divisor: Word = 3;
    GC_full_freq: c_int = 19;
    GC_gc_no: Word = 0;
    GC_gcj_debug_kind: c_int = 0;
    GC_gcj_kind: c_int = 0;
    GC_greatest_plausible_heap_addr: *mut c_void = null_mut();
    GC_least_plausible_heap_addr: *mut c_void = usize::MAX as *mut c_void;
    GC_java_finalization: c_int = 1;
    GC_max_retries: Word = 0;
    GC_no_dls: c_int = 0;
    GC_non_gc_bytes: Word = 0;
    GC_parallel: c_int = 0;
    GC_stackbottom: *mut c_char = null_mut();
    GC_time_limit: c_ulong = 15;
    GC_use_entire_heap: c_int = 0;
    GC_finalizer_notifier: Hook = None;
    GC_on_heap_resize: ResizeFn = None;
    GC_push_other_roots: Hook = None;
    GC_oom_fn: OomFn = Some(default_oom);
    GC_on_abort: AbortFn = Some(default_abort);
    GC_is_valid_displacement_print_proc: PrintFn = Some(print_bad_displacement);
    GC_is_visible_print_proc: PrintFn = Some(print_invisible);
    GC_same_obj_print_proc: PrintTwoFn = Some(print_other_object);
    // The original's free lists and its own variables, for macros of its
    // headers that no installed header has; nothing reads them.
    GC_objfreelist_ptr: *mut *mut c_void = null_mut();
    GC_aobjfreelist_ptr: *mut *mut c_void = null_mut();
    GC_uobjfreelist_ptr: *mut *mut c_void = null_mut();
    GC_auobjfreelist_ptr: *mut *mut c_void = null_mut();
    GC_arrays: [usize; 8] = [0; 8];
}

/// Bytes before an object of the debugging allocator.
#[unsafe(no_mangle)]
pub static GC_debug_header_size: usize = crate::debug::HEADER_BYTES;

/// Reads a variable where the program has it.
macro_rules! read {
    ($name:ident) => {
        core::ptr::read_volatile(&raw const $crate::data::$name)
    };
}

/// Writes a variable where the program has it.
macro_rules! set {
    ($name:ident, $value:expr) => {
        core::ptr::write_volatile(&raw mut $crate::data::$name, $value)
    };
}

/// Hooks that only functions set: addresses, zero for none.
pub static WARN_PROC: AtomicUsize = AtomicUsize::new(0);
pub static START_CALLBACK: AtomicUsize = AtomicUsize::new(0);
pub static COLLECTION_EVENT: AtomicUsize = AtomicUsize::new(0);
pub static THREAD_EVENT: AtomicUsize = AtomicUsize::new(0);
pub static STOP_FUNC: AtomicUsize = AtomicUsize::new(0);
pub static TOGGLEREF_FUNC: AtomicUsize = AtomicUsize::new(0);
pub static AWAIT_FINALIZE_PROC: AtomicUsize = AtomicUsize::new(0);
pub static HAS_STATIC_ROOTS: AtomicUsize = AtomicUsize::new(0);

/// `GC_disable` calls not yet undone, and the switch beside them, are one
/// counter in the interface: `GC_dont_gc`.
pub static SUSPEND_SIGNAL: AtomicI32 = AtomicI32::new(libc::SIGPWR);
pub static RESTART_SIGNAL: AtomicI32 = AtomicI32::new(libc::SIGXCPU);

pub fn on_abort() -> AbortFn {
    // SAFETY: a word that is always valid for its type.
    unsafe { read!(GC_on_abort) }
}

unsafe extern "C" fn default_oom(_bytes: usize) -> *mut c_void {
    null_mut()
}

unsafe extern "C" fn default_abort(message: *const c_char) {
    if !message.is_null() {
        let text = core::ffi::CStr::from_ptr(message).to_bytes();
        crate::say::write(2, text);
        crate::say::write(2, b"\n");
    }
}

unsafe extern "C" fn print_other_object(first: *mut c_void, second: *mut c_void) {
    crate::say::abort(format_args!("GC_same_obj: {first:p} and {second:p} are not in one object"));
}

unsafe extern "C" fn print_bad_displacement(place: *mut c_void) {
    crate::say::abort(format_args!("GC_is_valid_displacement: {place:p} is not one"));
}

unsafe extern "C" fn print_invisible(place: *mut c_void) {
    crate::say::abort(format_args!("GC_is_visible: {place:p} is not visible to the collector"));
}
