//! Layouts: where the references of a type are.

use crate::error::{Outcome, guard, mallocgc_error, mallocgc_error as Code};
use crate::handle::{lock, mallocgc_heap, not_null, store};
use crate::slot::checked;
use crate::trampoline::{mallocgc_trace_fn, traced};
use mallocgc::layout::{Program, TypeLayout};
use mallocgc::raw::Layout;
use std::collections::HashMap;

/// Where the references of a type are, and its size. Belongs to its heap and is
/// freed with it; equal layouts of equal size have one handle. Null stands for the layout of objects without
/// references, in every heap.
pub struct mallocgc_layout {
    pub(crate) layout: Layout,
}

/// The handles of a heap.
#[derive(Default)]
pub(crate) struct LayoutHandles {
    known: HashMap<(TypeLayout, usize), Box<mallocgc_layout>>,
}

/// Registers a layout and writes its handle.
///
/// # Safety
///
/// The pointers are null or right.
unsafe fn register(
    heap: *const mallocgc_heap,
    out: *mut *const mallocgc_layout,
    make: impl FnOnce() -> Outcome<TypeLayout>,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        not_null(out)?;
        let layout = make()?;
        let mut handles = lock(&heap.context.layouts);
        let bytes = layout.size_bytes();
        let key = (layout, bytes);
        if !handles.known.contains_key(&key) {
            let registered = heap.heap.layout(&key.0)?;
            handles.known.insert(key.clone(), Box::new(mallocgc_layout { layout: registered }));
        }
        // SAFETY: the caller's promise.
        unsafe { store(out, std::ptr::from_ref(&*handles.known[&key])) }
    })
}

/// Masks of `words` words, 64 to an element.
///
/// # Safety
///
/// `bits` is null or has as many.
unsafe fn masks<'a>(words: usize, bits: *const u64) -> Outcome<&'a [u64]> {
    if words == 0 {
        return Ok(&[]);
    }
    if bits.is_null() {
        return Err(Code::BadArgument);
    }
    if words > isize::MAX as usize / 8 {
        return Err(Code::BadLayout);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(bits, words.div_ceil(64)) })
}

/// Objects of `bytes` bytes without references, for mallocgc_new and mallocgc_new_array.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_layout_noscan(
    heap: *const mallocgc_heap,
    bytes: usize,
    layout: *mut *const mallocgc_layout,
) -> mallocgc_error {
    // SAFETY: passed on.
    unsafe { register(heap, layout, || Ok(TypeLayout::noscan(bytes))) }
}

/// Objects of `words` words (8 bytes each), any number, with references where the bits of
/// `mask` are set: 64 words to an element, the first in the lowest bit.
///
/// @return mallocgc_error: BAD_ARGUMENT, BAD_LAYOUT, NO_ROOM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_layout_mask(
    heap: *const mallocgc_heap,
    words: usize,
    mask: *const u64,
    layout: *mut *const mallocgc_layout,
) -> mallocgc_error {
    // SAFETY: passed on.
    unsafe { register(heap, layout, || Ok(TypeLayout::mask_bits(words, masks(words, mask)?)?)) }
}

/// Objects of a head of `head_words` words, perhaps none, and then elements of
/// `element_words` words up to the object's end; masks as for mallocgc_layout_mask. The size
/// is that of the head and one element.
///
/// @return mallocgc_error: BAD_ARGUMENT, BAD_LAYOUT, NO_ROOM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_layout_array(
    heap: *const mallocgc_heap,
    head_words: usize,
    head_mask: *const u64,
    element_words: usize,
    element_mask: *const u64,
    layout: *mut *const mallocgc_layout,
) -> mallocgc_error {
    // SAFETY: passed on.
    unsafe {
        register(heap, layout, || {
            let (head, element) =
                (masks(head_words, head_mask)?, masks(element_words, element_mask)?);
            Ok(TypeLayout::repeat_bits(head_words, head, element_words, element)?)
        })
    }
}

/// Huge types, by a program of up to 65536 bytes: instructions, each a
/// number `n << 2 | kind`, seven bits a byte, lowest first, the high bit set if more follow. Kind 0: n words without
/// references. Kind 1: n references. Kind 2: n words, 1 to 64, told by (n + 7) / 8 bytes of mask that
/// follow, lowest first. Kind 3: n times, or for n = 0 to the object's end, what follows: the words and the bytes of a
/// body, as such numbers, and the body.
///
/// @return mallocgc_error: BAD_ARGUMENT, BAD_LAYOUT, NO_ROOM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_layout_program(
    heap: *const mallocgc_heap,
    program: *const u8,
    bytes: usize,
    layout: *mut *const mallocgc_layout,
) -> mallocgc_error {
    // SAFETY: passed on.
    unsafe {
        register(heap, layout, || {
            if program.is_null() || bytes > isize::MAX as usize {
                return Err(Code::BadArgument);
            }
            let bytes = std::slice::from_raw_parts(program, bytes);
            Ok(TypeLayout::program(&Program::from_bytes(bytes)?)?)
        })
    }
}

/// Objects of `bytes` bytes whose references `trace` reports. It is called at every
/// cycle, on any thread, perhaps on several at once with different objects; with the world stopped, or, in a heap that
/// is marked beside its mutators, while they run. Such an object is then changed after mallocgc_pre_write_object, once
/// after each boundary, and a new one as it is. It may be given an object of zeroes, and a cell longer than the object; it must not write, nor enter a
/// heap. With a `stride` other than 0 it is called for each `stride` bytes of an object, as
/// for an array's elements.
///
/// @return mallocgc_error: BAD_ARGUMENT, BAD_LAYOUT, NO_ROOM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_layout_trace(
    heap: *const mallocgc_heap,
    bytes: usize,
    stride: usize,
    trace: mallocgc_trace_fn,
    layout: *mut *const mallocgc_layout,
) -> mallocgc_error {
    // SAFETY: passed on.
    unsafe {
        register(heap, layout, || {
            let function = trace.ok_or(Code::BadArgument)?;
            match stride {
                0 => Ok(traced(bytes, function)),
                _ if !bytes.is_multiple_of(stride) => Err(Code::BadLayout),
                _ => {
                    let array = traced(stride, function).array_of()?;
                    Ok(array.with_size_bytes(bytes)?)
                }
            }
        })
    }
}

/// Objects of `bytes` bytes any aligned word of which may be a reference.
///
/// @return mallocgc_error: BAD_ARGUMENT, NO_ROOM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_layout_conservative(
    heap: *const mallocgc_heap,
    bytes: usize,
    layout: *mut *const mallocgc_layout,
) -> mallocgc_error {
    // SAFETY: passed on.
    unsafe { register(heap, layout, || Ok(TypeLayout::conservative(bytes))) }
}

/// The bytes of one object of a layout; 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_layout_bytes(layout: *const mallocgc_layout) -> usize {
    // SAFETY: the caller's promise.
    unsafe { layout.as_ref() }.map_or(0, |layout| layout.layout.size_bytes())
}

/// What a pointer of C means.
///
/// # Safety
///
/// It is null or a handle.
#[inline(always)]
pub(crate) unsafe fn layout_of(layout: *const mallocgc_layout) -> Layout {
    // SAFETY: the caller's promise.
    unsafe { layout.as_ref() }.map_or(Layout::NOSCAN, |layout| layout.layout)
}
