//! Roots: handles, the mutator's stack of roots, ranges, callbacks, and stacks whose
//! words may be anything.

use crate::error::{Outcome, guard, guard_or, mallocgc_error, mallocgc_error as Code};
use crate::handle::{
    Data, OwnStack, checked, lock, mallocgc_heap, mallocgc_mutator, not_null, store, visit_stack,
};
use mallocgc::raw::{HeapError, RangeKind, Root, RootVisitor};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A root: keeps its object alive. Any thread may use it.
pub struct mallocgc_root {
    root: Root,
}

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
        unsafe { store(root, Box::into_raw(Box::new(made))) }
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
    if root.is_null() {
        return;
    }
    guard(|| {
        // SAFETY: made by `mallocgc_root_new`, and given back once.
        drop(unsafe { Box::from_raw(root) });
        Ok(())
    });
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
    // SAFETY: the caller's promise.
    let mutator = unsafe { mutator.as_ref() };
    guard(|| {
        let mutator = mutator.ok_or(Code::BadArgument)?.get()?;
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
        if start.is_null() || !start.is_aligned() {
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
        if start.is_null() {
            return Err(Code::BadArgument);
        }
        heap.heap.register_static_range(start.cast(), bytes);
        Ok(())
    })
}

/// Receives roots in a root callback. Valid during the call.
pub struct mallocgc_visitor {
    _private: [u8; 0],
}

/// Visits roots with mallocgc_visit and its kin. Called at every cycle with the
/// world stopped, perhaps on another thread; it must not enter a heap.
pub type mallocgc_roots_fn =
    Option<unsafe extern "C" fn(visitor: *mut mallocgc_visitor, data: *mut c_void)>;

type RootsFn = unsafe extern "C" fn(*mut mallocgc_visitor, *mut c_void);

fn call(function: RootsFn, data: Data, visitor: &mut RootVisitor<'_>) {
    // SAFETY: the program's function, with the word it gave.
    unsafe { function(std::ptr::from_mut(visitor).cast(), data.get()) };
}

/// What a visitor of C is.
///
/// # Safety
///
/// It came from `call`, whose visitor lives for the call.
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
        let roots = roots.ok_or(Code::BadArgument)?;
        let data = Data(data);
        let made = heap.heap.add_root_callback(move |visitor| call(roots, data, visitor));
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
        install(handle, roots.map(|roots| (roots, Data(data))))
    })
}

/// The one callback that a mutator has: its stack, and what the program visits.
fn install(handle: &mallocgc_mutator, roots: Option<(RootsFn, Data)>) -> Outcome {
    let own: Arc<OwnStack> = handle.own.clone();
    let visit = move |visitor: &mut RootVisitor<'_>| {
        own.visit(visitor);
        if let Some((roots, data)) = roots {
            call(roots, data, visitor);
        }
    };
    let set: Result<(), HeapError> = handle.get()?.set_root_callback(Some(visit));
    Ok(set?)
}

/// Lets every boundary of this mutator scan its thread's own stack and registers, up to
/// `base`: the address of a variable of a function that calls all others that hold references. Any word
/// there that names an allocated object keeps it alive. Null ends it. Call it before mallocgc_set_roots,
/// whose callback it removes.
///
/// @return mallocgc_error: BAD_ARGUMENT for a base above which this call's stack does not lie,
/// UNSUPPORTED, WRONG_THREAD, BUSY, REENTRANT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_scan_own_stack(
    mutator: *const mallocgc_mutator,
    base: *const c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { checked(mutator) }?;
        handle.get()?;
        if !crate::registers::SUPPORTED {
            return Err(Code::Unsupported);
        }
        let here = 0u8;
        let words = base.addr().next_multiple_of(size_of::<usize>());
        if words != 0 && words <= (&raw const here).addr() {
            return Err(Code::BadArgument);
        }
        install(handle, None)?;
        // The variable itself belongs to it.
        let end = if words == 0 { 0 } else { base.expose_provenance().next_multiple_of(16) + 16 };
        // Relaxed: read by a collector while this thread is stopped.
        handle.own.base.store(end, Relaxed);
        Ok(())
    })
}

/// Another stack, of a fiber or a coroutine.
pub struct mallocgc_stack {
    bounds: Arc<Bounds>,
    context: Arc<crate::handle::Context>,
}

pub(crate) struct Bounds {
    base: usize,
    top: AtomicUsize,
}

/// The stacks of a heap.
#[derive(Default)]
pub(crate) struct Stacks {
    all: Vec<Arc<Bounds>>,
    registered: bool,
}

/// Adds a stack that grows down from `base`, behind its oldest word. It is scanned
/// at every cycle from its top on, which mallocgc_stack_set_top tells; at first there is none.
/// Any word there that names an allocated object keeps it alive.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_stack_add(
    heap: *const mallocgc_heap,
    base: *const c_void,
    stack: *mut *mut mallocgc_stack,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        not_null(stack)?;
        if base.is_null() {
            return Err(Code::BadArgument);
        }
        let bounds = Arc::new(Bounds { base: base.expose_provenance(), top: AtomicUsize::new(0) });
        let first = {
            let mut stacks = lock(&heap.context.stacks);
            stacks.all.push(bounds.clone());
            !std::mem::replace(&mut stacks.registered, true)
        };
        if first {
            // The heap holds the callback: what it holds must not be the heap.
            let context = heap.context.clone();
            heap.heap.add_root_callback(move |visitor| {
                for bounds in &lock(&context.stacks).all {
                    visit_stack(visitor, bounds.top.load(Relaxed), bounds.base);
                }
            });
        }
        let made = mallocgc_stack { bounds, context: heap.context.clone() };
        // SAFETY: the caller's promise.
        unsafe { store(stack, Box::into_raw(Box::new(made))) }
    })
}

/// Tells the address of a stack's newest word, when it is switched away from, its registers
/// pushed; null when it is switched to, and is its thread's own stack, or ends. On the thread that
/// switches, between boundaries.
///
/// @return mallocgc_error: BAD_ARGUMENT, also for a top above the base.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_stack_set_top(
    stack: *const mallocgc_stack,
    top: *const c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let stack = unsafe { checked(stack) }?;
        if top.addr() > stack.bounds.base {
            return Err(Code::BadArgument);
        }
        // Relaxed: read by a collector while this thread is stopped.
        stack.bounds.top.store(top.expose_provenance(), Relaxed);
        Ok(())
    })
}

/// Forgets a stack and frees the handle; null is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_stack_remove(stack: *mut mallocgc_stack) {
    if stack.is_null() {
        return;
    }
    guard(|| {
        // SAFETY: made by `mallocgc_stack_add`, and given back once.
        let stack = unsafe { Box::from_raw(stack) };
        let mut stacks = lock(&stack.context.stacks);
        stacks.all.retain(|other| !Arc::ptr_eq(other, &stack.bounds));
        Ok(())
    });
}
