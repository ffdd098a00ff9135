//! References to values as slices and trait objects.

use crate::typed::gc::Gc;
use crate::typed::gc_weak::GcWeak;
use ::core::ptr::NonNull;

/// Makes of a [`Gc`](crate::typed::Gc) or [`GcWeak`](crate::typed::GcWeak) one of a slice or a trait object, as `Box` and `Rc` become by themselves.
/// [`Gc::map`](crate::typed::Gc::map) does so too, and leads to parts.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, unsize};
/// use std::fmt::Display;
///
/// let heap = Heap::new(Default::default())?;
/// heap.run(|cx| {
///     let numbers = unsize!(Gc::new(cx, [1, 2, 3]) => [i32]);
///     assert_eq!(numbers.len(), 3);
///     let shown = unsize!(Gc::new(cx, 42) => dyn Display);
///     assert_eq!(shown.to_string(), "42");
///     let weak = unsize!(Gc::downgrade(cx, Gc::new(cx, 'x')) => dyn Display);
///     assert_eq!(weak.upgrade(cx).unwrap().to_string(), "x");
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
///
/// What is no value of the other type does not compile:
///
/// ```compile_fail
/// use mallocgc::typed::{Gc, Heap, unsize};
/// let heap = Heap::new(Default::default()).unwrap();
/// heap.run(|cx| _ = unsize!(Gc::new(cx, ((), ())) => dyn std::fmt::Display));
/// ```
#[doc(inline)]
pub use crate::__unsize as unsize;

#[doc(hidden)]
#[macro_export]
macro_rules! __unsize {
    ($reference:expr => $to:ty) => {{
        let reference = $reference;
        // SAFETY: the function is a coercion, since it compiles.
        unsafe {
            $crate::typed::__Unsize::__unsize(reference, |pointer: *const _| -> *const $to {
                pointer
            })
        }
    }};
}

/// What [`unsize!`] works on.
///
/// # Safety
///
/// `__unsize` applies the function to the pointer and changes nothing else.
#[doc(hidden)]
pub unsafe trait Unsize<To> {
    type Value;
    type As: ?Sized;
    /// # Safety
    ///
    /// `coerce` is a coercion of pointers.
    unsafe fn __unsize(self, coerce: impl FnOnce(*const Self::Value) -> *const Self::As) -> To;
}

// SAFETY: as it says.
unsafe impl<'gc, T, U: ?Sized> Unsize<Gc<'gc, U>> for Gc<'gc, T> {
    type Value = T;
    type As = U;

    #[inline(always)]
    unsafe fn __unsize(self, coerce: impl FnOnce(*const T) -> *const U) -> Gc<'gc, U> {
        let pointer = NonNull::new(coerce(Gc::as_ptr(self)).cast_mut());
        Gc::from_pointer(pointer.expect("the same address"))
    }
}

// SAFETY: as it says.
unsafe impl<'gc, T, U: ?Sized> Unsize<GcWeak<'gc, U>> for GcWeak<'gc, T> {
    type Value = T;
    type As = U;

    #[inline(always)]
    unsafe fn __unsize(self, coerce: impl FnOnce(*const T) -> *const U) -> GcWeak<'gc, U> {
        // SAFETY: the caller's promise.
        unsafe { self.coerce(coerce) }
    }
}
