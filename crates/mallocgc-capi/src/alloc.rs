//! Allocation.
//!
//! These functions return pointers, and note why when they return null. They are the fast path: no
//! thread is compared, and nothing is caught, since nothing panics here but a
//! mistake of the library, which ends the process.

use crate::error::{guard, guard_or, mallocgc_error, mallocgc_error as Code, note};
use crate::handle::{mallocgc_mutator, not_null, store, unusable};
use crate::layout::{layout_of, mallocgc_layout};
use crate::slot::{checked, free, give, handle};
use mallocgc::raw::{AllocClass, AllocError, AllocFlags};
use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::ptr::NonNull;

/// How an object is allocated. Combine with |.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum mallocgc_flags {
    /// Zeroed, and no collection.
    None = 0,
    /// The contents are unspecified. Objects without references only.
    NoZero = 1,
    /// The allocation is a boundary: it may collect first, and when memory is short it does and
    /// tries again. Every reference the thread still needs must be in a root.
    Safepoint = 2,
    /// The object does not share a block of 16 bytes with others, so that a finalizer, cleanup or
    /// weak handle on it depends on nothing else.
    NoTiny = 4,
}

fn flags(number: u32) -> Option<AllocFlags> {
    let mut flags = AllocFlags::NONE;
    for (bit, flag) in [
        (mallocgc_flags::NoZero, AllocFlags::NO_ZERO),
        (mallocgc_flags::Safepoint, AllocFlags::SAFEPOINT),
        (mallocgc_flags::NoTiny, AllocFlags::NO_TINY),
    ] {
        if number & bit as u32 != 0 {
            flags = flags | flag;
        }
    }
    (number < 8).then_some(flags)
}

#[inline(always)]
fn answer(made: Result<NonNull<u8>, AllocError>) -> *mut c_void {
    match made {
        Ok(object) => object.as_ptr().cast(),
        Err(error) => refuse(error),
    }
}

#[cold]
fn refuse(error: impl Into<Code>) -> *mut c_void {
    note(error);
    std::ptr::null_mut()
}

/// Allocates `bytes` bytes with references where `layout` says, null for none; `flags` are
/// mallocgc_flags. The memory is zero. Zero bytes have one shared
/// address. Objects without references of less than 16 bytes may share a block of 16; from 8 bytes on the
/// alignment is at least 8.
///
/// Null on failure, see mallocgc_last_error: OUT_OF_MEMORY, LIMIT_REACHED, TOO_LARGE, WRONG_HEAP, REENTRANT,
/// UNZEROED_REFERENCES, BUSY, BAD_ARGUMENT. Nothing has been allocated then, and the heap works on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_alloc(
    mutator: *const mallocgc_mutator,
    layout: *const mallocgc_layout,
    bytes: usize,
    flags: u32,
) -> *mut c_void {
    // SAFETY: the caller's promise; a mutator in use is null there.
    let active = unsafe { mutator.as_ref().and_then(|handle| handle.active.get().as_ref()) };
    let Some(active) = active else { return refuse(unusable(mutator)) };
    // SAFETY: the caller's promise.
    let layout = unsafe { layout_of(layout) };
    if flags != 0 {
        return alloc_flags(mutator, layout, bytes, 1, flags);
    }
    answer(active.mallocgc(bytes, layout, AllocFlags::NONE))
}

#[cold]
fn alloc_flags(
    mutator: *const mallocgc_mutator,
    layout: mallocgc::raw::Layout,
    bytes: usize,
    align: usize,
    number: u32,
) -> *mut c_void {
    let Some(flags) = flags(number) else { return refuse(Code::BadArgument) };
    // SAFETY: the caller's caller's promise.
    let handle = unsafe { checked(mutator) };
    let made = handle.and_then(|handle| {
        handle.at_boundary(|active| match align {
            1 => active.mallocgc(bytes, layout, flags),
            _ => active.mallocgc_aligned(bytes, align, layout, flags),
        })
    });
    match made {
        Ok(made) => answer(made),
        Err(code) => refuse(code),
    }
}

/// As mallocgc_alloc, at an address that is a multiple of `align`, a power of two up to 4096.
///
/// Null on failure; BAD_ALIGNMENT beside those of mallocgc_alloc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_alloc_aligned(
    mutator: *const mallocgc_mutator,
    layout: *const mallocgc_layout,
    bytes: usize,
    align: usize,
    flags: u32,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let layout = unsafe { layout_of(layout) };
    // At 0, which is no alignment, the library says so.
    alloc_flags(mutator, layout, bytes, if align == 1 { 1 } else { align }, flags)
}

/// Allocates one zeroed object of the layout's size.
///
/// Null on failure, as mallocgc_alloc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_new(
    mutator: *const mallocgc_mutator,
    layout: *const mallocgc_layout,
) -> *mut c_void {
    // SAFETY: passed on.
    unsafe { mallocgc_alloc(mutator, layout, crate::layout::mallocgc_layout_bytes(layout), 0) }
}

/// Allocates `count` zeroed objects of the layout's size side by side. For more than one the layout must
/// be an array's.
///
/// Null on failure; NOT_REPEATING beside those of mallocgc_alloc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_new_array(
    mutator: *const mallocgc_mutator,
    layout: *const mallocgc_layout,
    count: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let active = unsafe { mutator.as_ref().and_then(|handle| handle.active.get().as_ref()) };
    let Some(active) = active else { return refuse(unusable(mutator)) };
    // SAFETY: the caller's promise.
    answer(active.new_array(unsafe { layout_of(layout) }, count))
}

/// A layout and a size, resolved for a place in the program that allocates the same
/// again and again.
// As of `mallocgc_mutator`.
#[cfg_attr(all(), repr(C))]
pub struct mallocgc_site {
    head: mallocgc_site_head,
    class: Cell<AllocClass>,
}

handle!(mallocgc_site, 3, |site| {
    site.head.window_offset.set(0);
    site.class.set(AllocClass::NONE);
});

const _: () = assert!(std::mem::offset_of!(mallocgc_site, head) == 0);

/// What every site begins with, for the inline functions and for code that a program generates.
#[repr(C)]
pub struct mallocgc_site_head {
    /// Where the site's window lies behind `windows` of a mutator. That of cells above 512 bytes, which are
    /// cleared when they are handed out, is always empty.
    pub window_offset: Cell<usize>,
    /// Bytes of a cell.
    pub cell_bytes: usize,
}

/// Free cells at hand: zero, of the site's cell_bytes each, side by side from `next` up to `limit`. Who
/// takes one adds its bytes to `next`; when the two are equal, mallocgc_site_alloc opens the next window. The
/// library may change it whenever it is called with the mutator. Other threads read `next`: it
/// is written by an atomic store, of relaxed order.
#[repr(C)]
pub struct mallocgc_window {
    /// The next object.
    pub next: *mut c_char,
    /// Where the cells end.
    pub limit: *mut c_char,
}

/// Resolves `layout` and `bytes`, 1 to 32768, for mallocgc_site_alloc with any mutator of the
/// heap; free it with mallocgc_site_free.
///
/// @return mallocgc_error: BAD_ARGUMENT, TOO_LARGE, WRONG_HEAP, OUT_OF_MEMORY, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_site_new(
    mutator: *const mallocgc_mutator,
    layout: *const mallocgc_layout,
    bytes: usize,
    site: *mut *mut mallocgc_site,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let mutator = unsafe { checked(mutator) }?.get()?;
        not_null(site)?;
        // SAFETY: the caller's promise.
        let class = mutator.alloc_class(bytes, unsafe { layout_of(layout) })?;
        let head = mallocgc_site_head {
            window_offset: Cell::new(class.window_offset()),
            cell_bytes: class.cell_bytes(),
        };
        // SAFETY: the caller's promise.
        unsafe { store(site, give(mallocgc_site { head, class: Cell::new(class) })) }
    })
}

/// The window from which a mutator allocates for a site, for generated code that knows both. It stays where
/// it is as long as the mutator is attached. Sites of equal layout and cell have one.
///
/// Null on failure, see mallocgc_last_error: BAD_ARGUMENT, WRONG_HEAP, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_site_window(
    mutator: *const mallocgc_mutator,
    site: *const mallocgc_site,
) -> *mut mallocgc_window {
    guard_or(std::ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        let (mutator, site) = unsafe { (checked(mutator)?.get()?, checked(site)?) };
        if !site.class.get().is_of(mutator.heap()) {
            return Err(Code::WrongHeap);
        }
        Ok(mutator.windows_address().wrapping_add(site.head.window_offset.get()).cast())
    })
}

/// Allocates a zeroed object of a site: the shortest path.
///
/// Null on failure, as mallocgc_alloc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_site_alloc(
    mutator: *const mallocgc_mutator,
    site: *const mallocgc_site,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let active = unsafe { mutator.as_ref().and_then(|handle| handle.active.get().as_ref()) };
    let Some(active) = active else { return refuse(unusable(mutator)) };
    // SAFETY: the caller's promise.
    match unsafe { site.as_ref() }.map(|site| active.alloc(site.class.get())) {
        Some(Ok(object)) => object.as_ptr().cast(),
        Some(Err(error)) => {
            // SAFETY: the caller's promise.
            let known = unsafe { checked(site) }.map(|_| error.into());
            refuse(known.unwrap_or_else(|code| code))
        }
        None => refuse(Code::BadArgument),
    }
}

/// Frees a site; null is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_site_free(site: *mut mallocgc_site) {
    // SAFETY: the caller's promise.
    unsafe { free(site) }
}
