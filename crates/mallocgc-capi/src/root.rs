//! Roots: handles, the mutator's stack of roots, ranges, callbacks. Not here: stacks
//! whose words may be anything (`stack`).

use crate::error::{Outcome, guard, guard_or, mallocgc_error, mallocgc_error as Code};
use crate::handle::{
    Data, RootsFn, call_roots, lock, mallocgc_heap, mallocgc_mutator, mallocgc_visitor, not_null,
    store,
};
use crate::slot::{checked, free, give, handle};
use mallocgc::raw::{RangeKind, Root, RootVisitor};
use std::ffi::c_void;
use std::ptr::NonNull;

/// A root: keeps its object alive. Any thread may use it.
pub struct mallocgc_root {
    root: Root,
}

handle!(mallocgc_root, 4);

fn object(pointer: *mut c_void) -> Outcome<NonNull<u8>> {
    NonNull::new(pointer.cast()).ok_or(Code::BadArgument)
}

/// Makes `object` a root until the handle is freed. A root keeps its heap.
///
/// @return mallocgc_error: BAD_ARGUMENT, OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_root_new(
    heap: *const mallocgc_heap,
    object: *mut c_void,
    root: *mut *mut mallocgc_root,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        not_null(root)?;
        let made = mallocgc_root { root: heap.heap.root(self::object(object)?)? };
        // SAFETY: the caller's promise.
        unsafe { store(root, give(made)) }
    })
}

/// The object of a root; null for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_root_get(root: *const mallocgc_root) -> *mut c_void {
    guard_or(std::ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        Ok(unsafe { checked(root) }?.root.get().as_ptr().cast())
    })
}

/// Lets a root keep another object alive instead.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_root_set(
    root: *mut mallocgc_root,
    object: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { checked(root) }?.root.set(self::object(object)?);
        Ok(())
    })
}

/// Frees a root; null is allowed. Its object may be collected from the next cycle on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_root_free(root: *mut mallocgc_root) {
    // SAFETY: the caller's promise.
    unsafe { free(root) }
}

/// Pushes `object` onto the mutator's stack of roots; its place there goes to `*index`
/// unless that is null.
///
/// @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY; OUT_OF_MEMORY with 16 Mi roots.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_push(
    mutator: *const mallocgc_mutator,
    object: *mut c_void,
    index: *mut usize,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let mutator = unsafe { checked(mutator) }?.get()?;
        let object = self::object(object)?;
        // A full stack panics in the library, whose message this spares.
        if mutator.root_count() >= ROOTS_MAX {
            return Err(Code::OutOfMemory);
        }
        let place = mutator.push_root(object);
        if !index.is_null() {
            // SAFETY: the caller's promise.
            unsafe { index.write(place) };
        }
        Ok(())
    })
}

/// Roots that a mutator's stack holds.
const ROOTS_MAX: usize = 16 << 20;

/// The number of roots on the mutator's stack; 0 for a mutator that cannot be used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_pushed(mutator: *const mallocgc_mutator) -> usize {
    guard_or(0, || {
        // SAFETY: the caller's promise.
        Ok(unsafe { checked(mutator) }?.get()?.root_count())
    })
}

/// The object at a place of the stack; null when there is no such place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_at(
    mutator: *const mallocgc_mutator,
    index: usize,
) -> *mut c_void {
    guard_or(std::ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        let mutator = unsafe { checked(mutator) }?.get()?;
        if index >= mutator.root_count() {
            return Err(Code::NotFound);
        }
        Ok(mutator.root(index).as_ptr().cast())
    })
}

/// Puts another object at a place of the stack.
///
/// @return mallocgc_error: NOT_FOUND, BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_put(
    mutator: *const mallocgc_mutator,
    index: usize,
    object: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let mutator = unsafe { checked(mutator) }?.get()?;
        let object = self::object(object)?;
        if index >= mutator.root_count() {
            return Err(Code::NotFound);
        }
        mutator.set_root(index, object);
        Ok(())
    })
}

/// Cuts the mutator's stack to `count` roots.
///
/// @return mallocgc_error: NOT_FOUND when there are fewer, BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_pop_to(
    mutator: *const mallocgc_mutator,
    count: usize,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let mutator = unsafe { checked(mutator) }?.get()?;
        if count > mutator.root_count() {
            return Err(Code::NotFound);
        }
        mutator.truncate_roots(count);
        Ok(())
    })
}

/// What the words of a range are.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum mallocgc_range_kind {
    /// References or null.
    References = 0,
    /// Anything; words that name allocated objects keep them alive.
    Ambiguous = 1,
}

fn range_kind(number: u32) -> Outcome<RangeKind> {
    match number {
        0 => Ok(RangeKind::References),
        1 => Ok(RangeKind::Ambiguous),
        _ => Err(Code::BadArgument),
    }
}

/// Makes the `words` words from `start` on, aligned to words, roots until mallocgc_range_remove is
/// given the number that goes to `*id`. `kind` is a mallocgc_range_kind. The range stays readable, and only mutators of
/// this heap write it, between boundaries. What lies in it counts as a place that never dies.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_range_add(
    heap: *const mallocgc_heap,
    start: *const c_void,
    words: usize,
    kind: u32,
    id: *mut u64,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        not_null(id)?;
        let start = start.cast::<usize>();
        let bytes = words.checked_mul(size_of::<usize>());
        let end = bytes.and_then(|bytes| start.addr().checked_add(bytes));
        if start.is_null() || !start.is_aligned() || end.is_none() {
            return Err(Code::BadArgument);
        }
        // SAFETY: the caller's promise.
        let made = unsafe { heap.heap.add_root_range(start, words, range_kind(kind)?) };
        // SAFETY: the caller's promise.
        unsafe { store(id, made) }
    })
}

/// Forgets a root range.
///
/// @return mallocgc_error: NOT_FOUND, BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_range_remove(
    heap: *const mallocgc_heap,
    id: u64,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        heap.heap.remove_root_range(id).then_some(()).ok_or(Code::NotFound)
    })
}

/// Declares that what lies in a range never dies, such as a program's data: finalizers, cleanups and
/// weak handles on it are accepted and do nothing, or never clear. It is not scanned.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_static_range_add(
    heap: *const mallocgc_heap,
    start: *const c_void,
    bytes: usize,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        if start.is_null() || start.addr().checked_add(bytes).is_none() {
            return Err(Code::BadArgument);
        }
        heap.heap.register_static_range(start.cast(), bytes);
        Ok(())
    })
}

/// Visits roots with mallocgc_visit and its kin. Called at every cycle with the
/// world stopped, perhaps on another thread; it must not enter a heap.
pub type mallocgc_roots_fn =
    Option<unsafe extern "C" fn(visitor: *mut mallocgc_visitor, data: *mut c_void)>;

/// What a visitor of C is.
///
/// # Safety
///
/// It came from `call_roots`, whose visitor lives for the call.
unsafe fn visitor<'v>(visitor: *mut mallocgc_visitor) -> &'v mut RootVisitor<'v> {
    // SAFETY: the caller's promise.
    unsafe { &mut *visitor.cast::<RootVisitor<'v>>() }
}

/// Visits one reference; null and addresses outside the heap are ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_visit(visitor: *mut mallocgc_visitor, reference: *const c_void) {
    // SAFETY: the caller's promise.
    unsafe { self::visitor(visitor) }.visit(reference.cast());
}

/// Visits a word that may be a reference.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_visit_ambiguous(visitor: *mut mallocgc_visitor, word: usize) {
    // SAFETY: the caller's promise.
    unsafe { self::visitor(visitor) }.visit_ambiguous(word);
}

/// Visits `words` words from `start` on, which is aligned to words; `kind` is a mallocgc_range_kind,
/// any other number counting as AMBIGUOUS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_visit_range(
    visitor: *mut mallocgc_visitor,
    start: *const c_void,
    words: usize,
    kind: u32,
) {
    let kind = range_kind(kind).unwrap_or(RangeKind::Ambiguous);
    // SAFETY: the caller's promise.
    unsafe { self::visitor(visitor).visit_range(start.cast(), words, kind) };
}

/// Registers a callback that visits roots of the heap, until mallocgc_roots_remove is given the
/// number that goes to `*id`.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_roots_add(
    heap: *const mallocgc_heap,
    roots: mallocgc_roots_fn,
    data: *mut c_void,
    id: *mut u64,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        not_null(id)?;
        let roots: RootsFn = roots.ok_or(Code::BadArgument)?;
        let data = Data(data);
        let made = heap.heap.add_root_callback(move |visitor| call_roots(roots, data, visitor));
        // SAFETY: the caller's promise.
        unsafe { store(id, made) }
    })
}

/// Forgets a root callback.
///
/// @return mallocgc_error: NOT_FOUND, BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_roots_remove(
    heap: *const mallocgc_heap,
    id: u64,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        heap.heap.remove_root_callback(id).then_some(()).ok_or(Code::NotFound)
    })
}

/// Sets the callback that visits this mutator's other roots; null removes it.
///
/// @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY, REENTRANT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_set_roots(
    mutator: *const mallocgc_mutator,
    roots: mallocgc_roots_fn,
    data: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { checked(mutator) }?;
        handle.install_roots()?;
        *lock(&handle.own.roots) = roots.map(|roots| (roots, Data(data)));
        Ok(())
    })
}
