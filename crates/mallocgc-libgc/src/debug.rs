//! The debugging allocator: a header with the place of allocation, a word behind the
//! object that must stay as it is, leak listing.
//!
//! ```text
//! base                                     base + 32            + size
//! ├ file ┤ line ┤ size ┤ start guard ┤ the object ... ├ end guard ┤
//! ```
//!
//! Objects are listed by their base; a cycle looks at the guards of all and
//! forgets those that are dead. With leak listing on, the dead ones are reported.
//!
//! Protection: the lock.

use crate::finalize::{self, FinalizeFn, Finalizer};
use crate::state::{heap, is_ready, state};
use crate::{alloc, kinds, lock, say};
use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
use libc::{c_char, c_int};
use mallocgc::raw::AmbiguousMarker;

pub const HEADER_BYTES: usize = 32;
const END_BYTES: usize = 8;
const START: usize = 0xfedc_edcb_fedc_edcb;
const END: usize = 0xbcde_cdef_bcde_cdef;

#[repr(C)]
struct Header {
    file: *const c_char,
    line: usize,
    bytes: usize,
    guard: usize,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

impl Header {
    unsafe fn guard_of(base: usize) -> usize {
        START ^ base
    }

    /// Where the end guard is: behind the object's last byte, unaligned.
    unsafe fn end(base: usize) -> *mut usize {
        let header = base as *const Header;
        (base + HEADER_BYTES + (*header).bytes) as *mut usize
    }

    /// The first place that was written over.
    unsafe fn smashed(base: usize) -> Option<usize> {
        let header = base as *const Header;
        if (*header).guard != Header::guard_of(base) {
            return Some(base + HEADER_BYTES - 8);
        }
        let end = Header::end(base);
        (end.read_unaligned() != END ^ base).then_some(end as usize)
    }
}

unsafe fn place(file: *const c_char) -> &'static str {
    if file.is_null() {
        return "unknown";
    }
    CStr::from_ptr(file).to_str().unwrap_or("unknown")
}

unsafe fn describe(base: usize, what: &str) {
    let header = base as *const Header;
    let kind = match heap().cell(base).map(|cell| cell.words) {
        Some(mallocgc::raw::CellWords::Plain) => "PTRFREE",
        _ => "composite",
    };
    say::error(format_args!(
        "{what} {:#x} ({}:{}, sz={}, {kind})",
        base + HEADER_BYTES,
        place((*header).file),
        (*header).line,
        (*header).bytes
    ));
}

unsafe fn dress(base: *mut c_void, bytes: usize, file: *const c_char, line: c_int) -> *mut c_void {
    if base.is_null() {
        return base;
    }
    let at = base as usize;
    base.cast::<Header>().write(Header {
        file,
        line: line as usize,
        bytes,
        guard: Header::guard_of(at),
    });
    Header::end(at).write_unaligned(END ^ at);
    // A pointer to the object is one into the cell.
    heap().ambiguous().register(HEADER_BYTES);
    let _held = lock::lock();
    state().debug_objects.insert(at, ());
    base.cast::<u8>().add(HEADER_BYTES).cast()
}

/// The base of an object of this allocator.
unsafe fn base_of(object: *mut c_void) -> Option<usize> {
    if !is_ready() || object.is_null() {
        return None;
    }
    let base = heap().cell(object as usize)?.base;
    let _held = lock::lock();
    (state().debug_objects.get(base).is_some() && object as usize == base + HEADER_BYTES)
        .then_some(base)
}

// --- in a cycle ----------------------------------------------------------

pub unsafe fn decide(marker: &mut dyn AmbiguousMarker) {
    let state = state();
    let finds_leaks = read!(GC_find_leak) != 0;
    let (leaks, smashed) = (&mut state.leaks, &mut state.smashed);
    state.debug_objects.retain(|base, ()| {
        if Header::smashed(base).is_some() {
            smashed.push(base);
        }
        let alive = marker.is_marked(base);
        if !alive && finds_leaks {
            leaks.push(base);
        }
        alive
    });
    // Until they are reported.
    for &base in state.leaks.as_slice().iter().chain(state.smashed.as_slice()) {
        marker.mark_only(base);
    }
}

/// Reports what the last cycle found. The world runs.
pub unsafe fn report() {
    let _held = lock::lock();
    let state = state();
    for &base in state.smashed.as_slice() {
        let at = Header::smashed(base).unwrap_or(base);
        say::error(format_args!(
            "GC_check_heap_block: found a smashed object at {at:#x} in or near"
        ));
        describe(base, "object at");
    }
    state.smashed.truncate(0);
    for &base in state.leaks.as_slice() {
        describe(base, "Leaked object at");
    }
    state.leaks.truncate(0);
}

// --- the interface -------------------------------------------------------

macro_rules! allocators {
    ($($name:ident => $allocate:path;)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(bytes: usize, file: *const c_char, line: c_int) -> *mut c_void {
            let Some(request) = bytes.checked_add(HEADER_BYTES + END_BYTES) else { return $allocate(bytes) };
            dress($allocate(request), bytes, file, line)
        }
    )* };
}

allocators! {
    GC_debug_malloc => alloc::GC_malloc;
    GC_debug_malloc_ignore_off_page => alloc::GC_malloc;
    GC_debug_malloc_stubborn => alloc::GC_malloc;
    GC_debug_malloc_atomic => alloc::GC_malloc_atomic;
    GC_debug_malloc_atomic_ignore_off_page => alloc::GC_malloc_atomic;
    GC_debug_malloc_uncollectable => alloc::GC_malloc_uncollectable;
    GC_debug_malloc_atomic_uncollectable => alloc::GC_malloc_atomic_uncollectable;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_generic_or_special_malloc(
    bytes: usize,
    kind: c_int,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    let Some(request) = bytes.checked_add(HEADER_BYTES + END_BYTES) else { return null_mut() };
    dress(kinds::GC_generic_or_special_malloc(request, kind), bytes, file, line)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_malloc_replacement(bytes: usize) -> *mut c_void {
    GC_debug_malloc(bytes, c"unknown".as_ptr(), 0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_realloc_replacement(
    object: *mut c_void,
    bytes: usize,
) -> *mut c_void {
    GC_debug_realloc(object, bytes, c"unknown".as_ptr(), 0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_free(object: *mut c_void) {
    if object.is_null() {
        return;
    }
    let Some(base) = base_of(object) else {
        // From the plain allocator, or wrong: that one tells.
        return alloc::GC_free(object);
    };
    if let Some(at) = Header::smashed(base) {
        say::error(format_args!("GC_debug_free: found a smashed location at {at:#x} in or near"));
        describe(base, "object at");
    }
    {
        let _held = lock::lock();
        state().debug_objects.remove(base);
    }
    alloc::GC_free(base as *mut c_void);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_realloc(
    object: *mut c_void,
    bytes: usize,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    if object.is_null() {
        return GC_debug_malloc(bytes, file, line);
    }
    if bytes == 0 {
        GC_debug_free(object);
        return null_mut();
    }
    let Some(base) = base_of(object) else { return alloc::GC_realloc(object, bytes) };
    let old = (*(base as *const Header)).bytes;
    let mut size = 0;
    let kind = kinds::GC_get_kind_and_size(base as *const c_void, &raw mut size);
    let made = GC_debug_generic_or_special_malloc(bytes, kind, file, line);
    if !made.is_null() {
        core::ptr::copy_nonoverlapping(object.cast::<u8>(), made.cast(), bytes.min(old));
        GC_debug_free(object);
    }
    made
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_strdup(
    text: *const c_char,
    file: *const c_char,
    line: c_int,
) -> *mut c_char {
    if text.is_null() {
        return null_mut();
    }
    let bytes = libc::strlen(text) + 1;
    let copy = GC_debug_malloc_atomic(bytes, file, line);
    if !copy.is_null() {
        core::ptr::copy_nonoverlapping(text.cast::<u8>(), copy.cast(), bytes);
    }
    copy.cast()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_strndup(
    text: *const c_char,
    most: usize,
    file: *const c_char,
    line: c_int,
) -> *mut c_char {
    let bytes = libc::strnlen(text, most);
    let copy = GC_debug_malloc_atomic(bytes + 1, file, line).cast::<u8>();
    if !copy.is_null() {
        core::ptr::copy_nonoverlapping(text.cast::<u8>(), copy, bytes);
        *copy.add(bytes) = 0;
    }
    copy.cast()
}

/// A finalizer of an object of this allocator: told the object and not its cell.
#[derive(Clone, Copy)]
#[repr(C)]
struct Wrapped {
    function: FinalizeFn,
    data: *mut c_void,
}

unsafe extern "C" fn call_wrapped(base: *mut c_void, wrapped: *mut c_void) {
    let Wrapped { function, data } = *wrapped.cast::<Wrapped>();
    if let Some(function) = function {
        function(base.cast::<u8>().add(HEADER_BYTES).cast(), data);
    }
}

pub unsafe fn register_finalizer(
    object: *mut c_void,
    finalizer: Finalizer,
    old_function: *mut FinalizeFn,
    old_data: *mut *mut c_void,
) {
    let Some(base) = base_of(object) else {
        return finalize::register(object, finalizer, old_function, old_data);
    };
    let mut inner = finalizer;
    if finalizer.function.is_some() {
        let wrapped = alloc::GC_malloc(size_of::<Wrapped>()).cast::<Wrapped>();
        if wrapped.is_null() {
            return;
        }
        wrapped.write(Wrapped { function: finalizer.function, data: finalizer.data });
        inner.function = Some(call_wrapped);
        inner.data = wrapped.cast();
    }
    let (mut function, mut data): (FinalizeFn, _) = (None, null_mut());
    finalize::register(base as *mut c_void, inner, &raw mut function, &raw mut data);
    let is_wrapped =
        function.is_some_and(|function| function as usize == call_wrapped as *const () as usize);
    if is_wrapped {
        let wrapped = *data.cast::<Wrapped>();
        (function, data) = (wrapped.function, wrapped.data);
    }
    if !old_function.is_null() {
        *old_function = function;
    }
    if !old_data.is_null() {
        *old_data = data;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_register_displacement(distance: usize) {
    crate::settings::GC_register_displacement(distance);
    crate::settings::GC_register_displacement(distance + HEADER_BYTES);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_debug_header_size() -> usize {
    HEADER_BYTES
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_change_stubborn(_: *const c_void) {}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_end_stubborn_change(_: *const c_void) {}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_ptr_store_and_dirty(slot: *mut c_void, value: *const c_void) {
    *slot.cast::<*const c_void>() = value;
}
