//! Handles by which objects are kept and found again.

use crate::raw;
use crate::typed::context::Cx;
use crate::typed::family::Family;
use crate::typed::gc::Gc;
use crate::typed::handled::{Handled, Wide};
use crate::typed::kind::{Accepts, Kind};
use ::core::fmt;
use ::core::marker::PhantomData;

/// Keeps an object alive: an ordinary value, which can be stored, cloned, sent and dropped anywhere at any time.
///
/// `F` is the object's type with `'static` for the heap's lifetime: one that has a [`Family`], or a slice, a string, a
/// [`HeaderSlice`](crate::typed::HeaderSlice) or a trait object ([`Handled`]).
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, Root, Slot, Trace};
///
/// #[derive(Trace)]
/// struct Node<'gc> {
///     next: Slot<Option<Gc<'gc, Node<'gc>>>>,
/// }
///
/// let heap = Heap::new(Default::default())?;
/// let root: Root<Node<'static>> =
///     heap.run(|cx| cx.root(Gc::new(cx, Node { next: Slot::default() })));
/// heap.collect();
/// heap.run(|cx| assert!(root.get(cx).next.get().is_none()));
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
///
/// A handle of one family is none of another, though the one be a subtype of the other:
///
/// ```compile_fail
/// use mallocgc::typed::{Static, Root};
/// type Any = Static<for<'a> fn(&'a str)>;
/// type Only = Static<fn(&'static str)>;
/// fn weaken(handle: Root<Any>) -> Root<Only> {
///     handle
/// }
/// ```
pub struct Root<F: ?Sized + Handled> {
    raw: raw::Root,
    /// What a reference to such an object is besides its address.
    wide: F::Wide,
    /// Invariant: a supertype of `F` may be the family of other objects.
    family: PhantomData<fn(Box<F>) -> Box<F>>,
}

impl<F: ?Sized + Handled> Root<F> {
    /// Keeps an object alive. Any thread of the heap can get it, so the heap must accept its type, which may be one
    /// of a part.
    ///
    /// # Panics
    ///
    /// When there is no memory for the handle.
    pub fn new<'gc, K: Accepts<F::At<'gc>>>(
        cx: &Cx<'gc, K>,
        object: Gc<'gc, F::At<'gc>>,
    ) -> Root<F> {
        let raw = cx.heap().root(object.as_non_null().cast());
        let raw = raw.unwrap_or_else(|error| panic!("no memory for a root: {error}"));
        Root { raw, wide: F::Wide::of(object), family: PhantomData }
    }

    /// The object.
    ///
    /// # Panics
    ///
    /// When it is in another heap than the context's; [`try_get`](Root::try_get) does not.
    #[inline]
    #[track_caller]
    pub fn get<'gc, K: Kind>(&self, cx: &Cx<'gc, K>) -> Gc<'gc, F::At<'gc>> {
        self.try_get(cx).expect("the root is of another heap")
    }

    /// The object, if it is in the context's heap.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap, Root};
    /// let (heap, other) = (Heap::new(Default::default())?, Heap::new(Default::default())?);
    /// let root: Root<u64> = heap.run(|cx| cx.root(Gc::new(cx, 1)));
    /// assert!(other.run(|cx| root.try_get(cx).is_none()));
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    #[inline]
    pub fn try_get<'gc, K: Kind>(&self, cx: &Cx<'gc, K>) -> Option<Gc<'gc, F::At<'gc>>> {
        if !self.raw.heap().is_same(cx.heap()) {
            return None;
        }
        // The handle has kept it alive, and it was made of such a reference.
        // SAFETY: so both parts are those of one.
        Some(unsafe { self.wide.with_address(self.raw.get()) })
    }
}

impl<F: Family> Root<F> {
    /// Lets the handle keep another object alive instead.
    ///
    /// # Panics
    ///
    /// When it is of another heap than the context's.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap, Root};
    /// let heap = Heap::new(Default::default())?;
    /// let newest: Root<u64> = heap.run(|cx| cx.root(Gc::new(cx, 0)));
    /// for n in 1..=3 {
    ///     heap.run(|cx| newest.set(cx, Gc::new(cx, n)));
    /// }
    /// heap.collect();
    /// assert_eq!(heap.raw().stats().heap_objects, 1);
    /// assert_eq!(heap.run(|cx| *newest.get(cx)), 3);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn set<'gc, K: Kind>(&self, cx: &Cx<'gc, K>, object: Gc<'gc, F::At<'gc>>) {
        assert!(self.raw.heap().is_same(cx.heap()), "the root is of another heap");
        self.raw.set_active(object.as_non_null().cast());
    }
}

impl<F: ?Sized + Handled> Clone for Root<F> {
    fn clone(&self) -> Root<F> {
        let raw = self.raw.try_clone();
        let raw = raw.unwrap_or_else(|error| panic!("no memory for a root: {error}"));
        Root { raw, wide: self.wide, family: PhantomData }
    }
}

impl<F: ?Sized + Handled> fmt::Debug for Root<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({:?})", self.raw.get())
    }
}

impl<'gc, K: Kind> Cx<'gc, K> {
    /// Keeps an object alive beyond this `run`.
    ///
    /// # Panics
    ///
    /// When there is no memory for the handle.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap, Root, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Pair<'gc>(Gc<'gc, u64>, Gc<'gc, u64>);
    ///
    /// let heap = Heap::new(Default::default())?;
    /// // The type is told by the handle's, or at the call.
    /// let pair: Root<Pair<'static>> =
    ///     heap.run(|cx| cx.root(Gc::new(cx, Pair(Gc::new(cx, 1), Gc::new(cx, 2)))));
    /// let first = heap.run(|cx| cx.root::<u64>(pair.get(cx).0));
    /// drop(pair);
    /// heap.collect();
    /// assert_eq!(heap.run(|cx| *first.get(cx)), 1);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn root<F: ?Sized + Handled>(&self, object: Gc<'gc, F::At<'gc>>) -> Root<F>
    where
        K: Accepts<F::At<'gc>>,
    {
        Root::new(self, object)
    }
}
