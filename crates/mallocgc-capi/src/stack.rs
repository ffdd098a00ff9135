//! Stacks whose words may be anything: a thread's own, and those of fibers.
//!
//! A mutator has one callback for its roots (`install`), which visits what lies on its own stack between
//! the newest word at the boundary and the base, and what the program's function visits. Other
//! stacks are visited by one callback of the heap, from where they were left.
//!
//! Protection: bounds are atomics that a mutator's thread writes between boundaries, and a collector reads while that is
//! stopped; the list of stacks is behind a lock.

use crate::error::{guard, mallocgc_error, mallocgc_error as Code};
use crate::handle::{Context, Data, lock, mallocgc_heap, mallocgc_mutator, not_null, store};
use crate::heap::mallocgc_hook_fn;
use crate::slot::{checked, give, handle, take};
use mallocgc::raw::{RangeKind, RootVisitor};
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Visits the words from `top` up to `base`; none if either is 0.
pub(crate) fn visit_stack(visitor: &mut RootVisitor<'_>, top: usize, base: usize) {
    let align = size_of::<usize>();
    let top = top.next_multiple_of(align);
    if top == 0 || base <= top {
        return;
    }
    let start = std::ptr::with_exposed_provenance::<usize>(top);
    // SAFETY: who registered the stack promised that it is readable between the
    // two, and its thread or fiber is stopped.
    unsafe { visitor.visit_range(start, (base - top) / align, RangeKind::Ambiguous) };
}

/// Lets every boundary of this mutator scan its thread's own stack and registers, up to
/// `base`: the address of a variable of a function that calls all others that hold references. Any word
/// there that names an allocated object keeps it alive. Null ends it.
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
        handle.install_roots()?;
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
    context: Arc<Context>,
}

handle!(mallocgc_stack, 5);

pub(crate) struct Bounds {
    base: usize,
    /// Its newest word; 0 while it is its thread's own stack, or unused.
    top: AtomicUsize,
}

/// The stacks of a heap.
#[derive(Default)]
pub(crate) struct Stacks {
    all: Vec<Arc<Bounds>>,
    registered: bool,
}

/// Adds a stack that grows down from `base`, behind its oldest word. While it is not its thread's own stack it is scanned
/// at every cycle from its top on, which mallocgc_stack_switch and mallocgc_stack_set_top tell; at first there is none.
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
        unsafe { store(stack, give(made)) }
    })
}

/// Leaves the stack `from`, on which this is called, for the stack `to`: `function` is called with `data` and switches. What `from` holds, the
/// callers' registers included, is scanned from now on at every cycle; `to` is this thread's own stack, which
/// boundaries scan as mallocgc_scan_own_stack says. It returns when `function` does: once somebody has switched back,
/// on whatever thread, with that thread's mutator.
///
/// @return mallocgc_error: BAD_ARGUMENT, also for a `from` below this call; WRONG_HEAP, UNSUPPORTED, WRONG_THREAD, BUSY, REENTRANT; `function` was not called then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_stack_switch(
    mutator: *const mallocgc_mutator,
    from: *const mallocgc_stack,
    to: *const mallocgc_stack,
    function: mallocgc_hook_fn,
    data: *mut c_void,
) -> mallocgc_error {
    let data = Data(data);
    guard(|| {
        // SAFETY: the caller's promise.
        let (handle, from, to) = unsafe { (checked(mutator)?, checked(from)?, checked(to)?) };
        handle.get()?;
        let function = function.ok_or(Code::BadArgument)?;
        if !crate::registers::SUPPORTED {
            return Err(Code::Unsupported);
        }
        let is_ours = |stack: &mallocgc_stack| Arc::ptr_eq(&stack.context, &handle.context);
        if !is_ours(from) || !is_ours(to) {
            return Err(Code::WrongHeap);
        }
        if !handle.own.installed.load(Relaxed) {
            handle.install_roots()?;
        }
        crate::registers::with_registers(|top| {
            if top > from.bounds.base {
                return Err(Code::BadArgument);
            }
            // Relaxed, here and below: read by a collector while this thread is stopped.
            from.bounds.top.store(top, Relaxed);
            to.bounds.top.store(0, Relaxed);
            handle.own.base.store(to.bounds.base, Relaxed);
            // SAFETY: the program's function, with the word it gave. Whoever switches
            // back tells so first, as above.
            unsafe { function(data.get()) };
            Ok(())
        })
    })
}

/// Tells the address of a stack's newest word, when it is switched away from, its registers
/// pushed; null when it is switched to, and is its thread's own stack, or ends. On the thread that
/// switches, between boundaries. For programs that switch in other ways than mallocgc_stack_switch, which also need to say which
/// is the thread's own stack now, with mallocgc_scan_own_stack.
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

/// Forgets a stack and frees the handle, before the stack's memory is given back; null is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_stack_remove(stack: *mut mallocgc_stack) {
    if stack.is_null() {
        return;
    }
    guard(|| {
        // SAFETY: the caller's promise.
        let stack = unsafe { take(stack) }?;
        let mut stacks = lock(&stack.context.stacks);
        stacks.all.retain(|other| !Arc::ptr_eq(other, &stack.bounds));
        Ok(())
    });
}
