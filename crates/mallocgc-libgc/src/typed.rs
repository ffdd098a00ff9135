//! Objects of which a bitmap says where the references are.
//!
//! A descriptor is what the interface makes of a bitmap: a length when the
//! first words are references, a bitmap of 62 words, or the number of a longer
//! one. To allocate by it, it becomes a layout of ours, once.
//!
//! Protection: the tables are behind the lock.

use crate::alloc;
use crate::kinds::{BITMAP, LENGTH, PROC};
use crate::state::{heap, state};
use crate::{init, lock};
use core::ffi::c_void;
use core::ptr::null_mut;
use mallocgc::layout::TypeLayout;
use mallocgc::raw::Layout;

/// Words that a bitmap descriptor has bits for.
const BITMAP_WORDS: usize = 62;

/// The procedure of descriptors that name a longer bitmap; only their number is
/// ever used.
pub unsafe extern "C" fn mark_big(
    _: *mut usize,
    stack: *mut c_void,
    _: *mut c_void,
    _: usize,
) -> *mut c_void {
    stack
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_make_descriptor(bitmap: *const usize, words: usize) -> usize {
    init::ensure();
    let has = |word: usize| *bitmap.add(word / 64) >> (word % 64) & 1 != 0;
    let Some(last) = (0..words).rev().find(|&word| has(word)) else { return 0 };
    if (0..last).all(has) {
        return ((last + 1) * 8) | LENGTH;
    }
    if last < BITMAP_WORDS {
        let bits = (0..=last).filter(|&word| has(word));
        return bits.fold(BITMAP, |descriptor, word| descriptor | 1 << (63 - word));
    }
    let masks = core::slice::from_raw_parts(bitmap, (last + 1).div_ceil(64));
    let mut bits: Vec<u64> = masks.iter().map(|&word| word as u64).collect();
    if (last + 1) % 64 != 0 {
        *bits.last_mut().expect("a bit is set") &= (1 << ((last + 1) % 64)) - 1;
    }
    let layout =
        TypeLayout::mask_bits(last + 1, &bits).ok().and_then(|layout| heap().layout(&layout).ok());
    let _held = lock::lock();
    state().big_masks.push(layout.unwrap_or_else(|| alloc::any_word()));
    (state().big_masks.len() - 1) << 8 | PROC
}

/// The layout of a descriptor, for objects of `bytes`.
unsafe fn layout_of(descriptor: usize, bytes: usize) -> Layout {
    match descriptor & 3 {
        LENGTH if descriptor == 0 => return Layout::NOSCAN,
        LENGTH if descriptor + 8 > bytes => return alloc::any_word(),
        PROC => {
            let _held = lock::lock();
            return state()
                .big_masks
                .as_slice()
                .get(descriptor >> 8)
                .copied()
                .unwrap_or_else(|| alloc::any_word());
        }
        LENGTH | BITMAP => {}
        _ => return alloc::any_word(),
    }
    let _held = lock::lock();
    if let Some(&mut layout) = state().typed.get(descriptor) {
        return layout;
    }
    let made = if descriptor & 3 == BITMAP {
        let bits = (descriptor & !3).reverse_bits() as u64;
        TypeLayout::try_mask(64 - bits.leading_zeros() as usize, bits)
    } else {
        let words = descriptor / 8;
        let mut bits = vec![u64::MAX; words.div_ceil(64)];
        if !words.is_multiple_of(64) {
            *bits.last_mut().expect("a length is not zero") = (1 << (words % 64)) - 1;
        }
        TypeLayout::mask_bits(words, &bits)
    };
    let layout = made.ok().and_then(|layout| heap().layout(&layout).ok());
    let layout = layout.unwrap_or_else(|| alloc::any_word());
    state().typed.insert(descriptor, layout);
    layout
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc_explicitly_typed(
    bytes: usize,
    descriptor: usize,
) -> *mut c_void {
    init::ensure();
    alloc::described(bytes, layout_of(descriptor, bytes))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc_explicitly_typed_ignore_off_page(
    bytes: usize,
    descriptor: usize,
) -> *mut c_void {
    GC_malloc_explicitly_typed(bytes, descriptor)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_calloc_explicitly_typed(
    count: usize,
    bytes: usize,
    descriptor: usize,
) -> *mut c_void {
    init::ensure();
    let Some(total) = count.checked_mul(bytes) else {
        return match read_oom() {
            Some(hook) => hook(usize::MAX),
            None => null_mut(),
        };
    };
    let words = bytes / 8;
    let mask = match descriptor & 3 {
        LENGTH if descriptor == 0 => return alloc::GC_malloc_atomic_zeroed(total),
        LENGTH if descriptor < bytes && descriptor / 8 < 64 => (1u64 << (descriptor / 8)) - 1,
        BITMAP => (descriptor & !3).reverse_bits() as u64,
        // Elements that are all references, or more than a mask tells.
        _ => return alloc::GC_malloc(total),
    };
    if !bytes.is_multiple_of(8) || words > 64 {
        return alloc::GC_malloc(total);
    }
    let layout =
        TypeLayout::try_repeat(words, mask).ok().and_then(|layout| heap().layout(&layout).ok());
    alloc::described(total, layout.unwrap_or_else(|| alloc::any_word()))
}

unsafe fn read_oom() -> crate::data::OomFn {
    read!(GC_oom_fn)
}
