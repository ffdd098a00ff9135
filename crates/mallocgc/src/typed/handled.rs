//! What a [`Root`](crate::typed::Root) can be of: types of a known size, and slices, strings and trait objects, whose references
//! are two words.
//!
//! A root's slot in the heap holds an address. The other word, a length or a table of functions, is the handle's.

use crate::typed::family::Family;
use crate::typed::gc::Gc;
use crate::typed::header_slice::HeaderSlice;
use ::core::fmt;
use ::core::marker::PhantomData;
use ::core::mem::transmute_copy;
use ::core::ptr::{NonNull, slice_from_raw_parts_mut};

/// Names a type for any heap, as [`Family`] does, and may be a slice or the like: `Root<[u64]>`, `Root<str>`,
/// `Root<HeaderSlice<u32, [Gc<'static, Node<'static>>]>>`. All that has a [`Family`] has it, and
///
/// | name | objects |
/// |---|---|
/// | `[F]` | `[F::At<'gc>]` |
/// | `str` | |
/// | [`HeaderSlice<H, [F]>`](HeaderSlice), `HeaderSlice<H, str>` | |
/// | `dyn Shape<'static>`, after [`dyn_trace!`](crate::typed::dyn_trace!)`(dyn Shape<'gc>)` | `dyn Shape<'gc> + 'gc` |
/// | [`Unsized<dyn Display>`](Unsized) | `dyn Display`, and whatever else is `'static` |
///
/// # Safety
///
/// `At<'gc>` is the same type for all lifetimes but for that of the heap, and `Wide` is of it.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, Root};
/// let heap = Heap::new(Default::default())?;
/// let text: Root<str> = heap.run(|cx| cx.root(Gc::from_str(cx, "kept")));
/// let objects: Root<[Gc<'static, u64>]> =
///     heap.run(|cx| cx.root(Gc::from_iter(cx, (0..3u32).map(|n| Gc::new(cx, n.into())))));
/// heap.collect();
/// heap.run(|cx| assert_eq!((&*text.get(cx), *objects.get(cx)[2]), ("kept", 2)));
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name a type of all heaps",
    label = "a handle outlives every heap lifetime, so that it needs such a name",
    note = "derive `Trace` for the type, and write `'static` where it has the heap's lifetime"
)]
pub unsafe trait Handled: 'static {
    /// The type in a heap of this lifetime.
    type At<'gc>: ?Sized;
    #[doc(hidden)]
    type Wide: Wide<Self>;
}

/// What a reference to an object is besides its address.
///
/// # Safety
///
/// `with_address` gives a reference back that `of` was called with, if it is given its address, in whatever lifetime.
#[doc(hidden)]
pub unsafe trait Wide<F: ?Sized + Handled>: Copy + Send + Sync {
    fn of<'gc>(reference: Gc<'gc, F::At<'gc>>) -> Self;
    /// # Safety
    ///
    /// The address is that of the reference that this was made of, whose object is alive, in the heap `'gc`.
    unsafe fn with_address<'gc>(self, address: NonNull<u8>) -> Gc<'gc, F::At<'gc>>;
}

// SAFETY: it is a family.
unsafe impl<F: Family> Handled for F {
    type At<'gc> = <F as Family>::At<'gc>;
    type Wide = ();
}

// SAFETY: there is nothing but the address.
unsafe impl<F: Family> Wide<F> for () {
    #[inline(always)]
    fn of<'gc>(_: Gc<'gc, <F as Family>::At<'gc>>) {}

    #[inline(always)]
    unsafe fn with_address<'gc>(self, address: NonNull<u8>) -> Gc<'gc, <F as Family>::At<'gc>> {
        Gc::from_pointer(address.cast())
    }
}

/// A number of elements or bytes.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Length(usize);

macro_rules! by_length {
    ($([$($parameter:ident)*] $of:ty, $at:ty, $element:ty;)*) => {$(
        // SAFETY: the parameters are families.
        unsafe impl<$($parameter: Family),*> Handled for $of {
            type At<'gc> = $at;
            type Wide = Length;
        }

        // SAFETY: it is a slice's pointer by another name, whose second word is its length.
        unsafe impl<$($parameter: Family),*> Wide<$of> for Length {
            #[inline]
            fn of<'gc>(reference: Gc<'gc, $at>) -> Length {
                Length((Gc::as_ptr(reference) as *const [$element]).len())
            }

            #[inline]
            unsafe fn with_address<'gc>(self, address: NonNull<u8>) -> Gc<'gc, $at> {
                let elements = slice_from_raw_parts_mut(address.as_ptr().cast::<$element>(), self.0);
                // SAFETY: it has the address.
                Gc::from_pointer(unsafe { NonNull::new_unchecked(elements as *mut $at) })
            }
        }
    )*};
}

by_length! {
    [F] [F], [<F as Family>::At<'gc>], <F as Family>::At<'gc>;
    [] str, str, u8;
    [H F] HeaderSlice<H, [F]>, HeaderSlice<<H as Family>::At<'gc>, [<F as Family>::At<'gc>]>, <F as Family>::At<'gc>;
    [H] HeaderSlice<H, str>, HeaderSlice<<H as Family>::At<'gc>, str>, u8;
}

/// Names a type of two-word references that is `'static` itself, above all a trait object's: `Root<Unsized<dyn Display>>`.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, Root, Unsized, unsize};
/// use std::fmt::Display;
///
/// let heap = Heap::new(Default::default())?;
/// let shown: Root<Unsized<dyn Display>> =
///     heap.run(|cx| cx.root(unsize!(Gc::new(cx, 42) => dyn Display)));
/// heap.collect();
/// assert_eq!(heap.run(|cx| shown.get(cx).to_string()), "42");
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
pub struct Unsized<T: ?Sized>(PhantomData<fn(Box<T>) -> Box<T>>);

impl<T: ?Sized> fmt::Debug for Unsized<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unsized")
    }
}

// SAFETY: the type is the same.
unsafe impl<T: ?Sized + 'static> Handled for Unsized<T> {
    type At<'gc> = T;
    type Wide = Whole<T>;
}

/// A whole pointer, to an `At<'static>`.
///
/// # Invariants
///
/// 1. It is not followed before it is a reference again, in a context.
#[doc(hidden)]
pub struct Whole<T: ?Sized>(NonNull<T>);

// SAFETY: numbers, by invariant 1.
unsafe impl<T: ?Sized> Send for Whole<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: ?Sized> Sync for Whole<T> {}

impl<T: ?Sized> Clone for Whole<T> {
    fn clone(&self) -> Whole<T> {
        *self
    }
}

impl<T: ?Sized> Copy for Whole<T> {}

impl<T: ?Sized> fmt::Debug for Whole<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// SAFETY: it is the pointer, and lifetimes are no part of it.
unsafe impl<F: ?Sized + Handled> Wide<F> for Whole<F::At<'static>> {
    fn of<'gc>(reference: Gc<'gc, F::At<'gc>>) -> Whole<F::At<'static>> {
        // SAFETY: pointers to types that differ by a lifetime.
        Whole(unsafe { transmute_copy(&reference.as_non_null()) })
    }

    unsafe fn with_address<'gc>(self, _: NonNull<u8>) -> Gc<'gc, F::At<'gc>> {
        // SAFETY: as in `of`.
        Gc::from_pointer(unsafe { transmute_copy(&self.0) })
    }
}
