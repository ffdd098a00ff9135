//! Telling AddressSanitizer which cells hold objects.
//!
//! Built with `--cfg mallocgc_asan` and the sanitizer, a cell is poisoned from
//! the moment its span is made or its object is swept until it is handed out,
//! so that a program that uses a dead object stops at the use. Otherwise these
//! functions are empty.

use crate::base::Address;

#[cfg(mallocgc_asan)]
unsafe extern "C" {
    fn __asan_poison_memory_region(address: *const core::ffi::c_void, bytes: usize);
    fn __asan_unpoison_memory_region(address: *const core::ffi::c_void, bytes: usize);
}

/// Whether dead cells are poisoned.
pub const POISONS: bool = cfg!(mallocgc_asan);

/// Nobody may touch these bytes.
#[inline(always)]
pub fn poison(address: Address, bytes: usize) {
    #[cfg(mallocgc_asan)]
    // SAFETY: changes the sanitizer's shadow of the heap's own mapping only.
    unsafe {
        __asan_poison_memory_region(address.as_ptr(), bytes);
    }
    let _ = (address, bytes);
}

/// These bytes may be used again.
#[inline(always)]
pub fn unpoison(address: Address, bytes: usize) {
    #[cfg(mallocgc_asan)]
    // SAFETY: as in `poison`.
    unsafe {
        __asan_unpoison_memory_region(address.as_ptr(), bytes);
    }
    let _ = (address, bytes);
}
