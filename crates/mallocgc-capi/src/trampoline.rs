//! C trace functions as the library takes them.
//!
//! A layout keeps one function, of Rust's calling convention, and a word. The function is
//! [`call`] for all of C's, and the word says which of these.

use mallocgc::layout::{Tracer, TypeLayout};
use std::ffi::c_void;

/// What a trace function reports references to, with mallocgc_trace. Valid
/// during the call.
pub struct mallocgc_tracer {
    _private: [u8; 0],
}

/// Reports every reference of the object at `object`, of which it may read
/// `size` bytes, to `tracer`. See mallocgc_layout_trace.
pub type mallocgc_trace_fn =
    Option<unsafe extern "C" fn(object: *mut c_void, size: usize, tracer: *mut mallocgc_tracer)>;

pub(crate) type CTraceFn = unsafe extern "C" fn(*mut c_void, usize, *mut mallocgc_tracer);

/// A layout of objects of `bytes` bytes that a C function traces.
pub(crate) fn traced(bytes: usize, function: CTraceFn) -> TypeLayout {
    TypeLayout::trace_with(bytes, call, function as usize)
}

/// Calls the C function whose address is the layout's word.
///
/// # Safety
///
/// As of `TraceFn`, for layouts that `traced` made.
unsafe fn call(object: *mut u8, size: usize, tracer: &mut Tracer<'_>) {
    // SAFETY: `traced` put such a function there.
    let function = unsafe { std::mem::transmute::<usize, CTraceFn>(tracer.data()) };
    // SAFETY: the promise of `TraceFn`, which who registered the function gave as well.
    unsafe { function(object.cast(), size, std::ptr::from_mut(tracer).cast()) }
}

/// Reports a reference to the tracer. Null and addresses outside the heap are ignored; any
/// address in an object will do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_trace(tracer: *mut mallocgc_tracer, reference: *const c_void) {
    // SAFETY: the pointer came from `call`, whose tracer lives for the call.
    let tracer = unsafe { &mut *tracer.cast::<Tracer<'_>>() };
    tracer.visit(reference.cast::<u8>());
}
