//! References inside objects that do not keep alive what they lead to.

use crate::layout::Tracer;
use crate::raw;
use crate::typed::context::Mutation;
use crate::typed::family::Family;
use crate::typed::gc::Gc;
use crate::typed::shape::Shape;
use crate::typed::trace::{Static, Trace};
use ::core::fmt;
use ::core::mem::offset_of;
use ::core::ptr::NonNull;

/// A reference that does not keep its object alive: it belongs into objects, is `Copy`, and may be of any type, `str` and
/// `dyn` too. A [`Weak`](crate::typed::Weak) may live outside of [`run`](crate::typed::Mutator::run), is counted, and is of types that
/// have a [`Family`].
///
/// Making one puts a small object with a record into the heap, which copies share.
///
/// # Invariants
///
/// 1. `pointer` is that of a `Gc<'gc, T>`, as long as the handle in `record`, which is of that place, is not cleared.
///
/// # Examples
///
/// A tree whose nodes know their parents, which do not live for it:
///
/// ```
/// use mallocgc::typed::{Gc, GcWeak, Heap, RefLock, Trace};
///
/// #[derive(Trace)]
/// struct Node<'gc> {
///     parent: Option<GcWeak<'gc, Node<'gc>>>,
///     children: RefLock<Vec<Gc<'gc, Node<'gc>>>>,
/// }
///
/// let heap = Heap::new(Default::default())?;
/// let child = heap.run(|cx| {
///     let parent = Gc::new(cx, Node { parent: None, children: RefLock::default() });
///     let weak = Gc::downgrade(cx, parent);
///     let child = Gc::new(cx, Node { parent: Some(weak), children: RefLock::default() });
///     parent.children.borrow_mut(cx).push(child);
///     assert!(Gc::ptr_eq(child.parent.unwrap().upgrade(cx).unwrap(), parent));
///     cx.root::<Node<'static>>(child)
/// });
/// heap.collect();
/// heap.run(|cx| assert!(child.get(cx).parent.unwrap().upgrade(cx).is_none()));
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
pub struct GcWeak<'gc, T: ?Sized> {
    record: Gc<'gc, Static<raw::Weak>>,
    pointer: NonNull<T>,
}

// SAFETY: it hands out a `Gc<T>`, which is `Send` then.
unsafe impl<T: ?Sized + Send + Sync> Send for GcWeak<'_, T> {}
// SAFETY: as for `Send`.
unsafe impl<T: ?Sized + Send + Sync> Sync for GcWeak<'_, T> {}

impl<'gc, T: ?Sized> Gc<'gc, T> {
    /// A reference that does not keep the object alive.
    ///
    /// # Panics
    ///
    /// When there is no memory for it.
    ///
    /// # Examples
    ///
    /// [`GcWeak`] has one.
    pub fn downgrade(mutation: &Mutation<'gc>, this: Gc<'gc, T>) -> GcWeak<'gc, T> {
        let pointer = this.as_non_null();
        let made = mutation.core().raw.weak(pointer.cast());
        let (weak, _) = made.unwrap_or_else(|error| panic!("no memory for a handle: {error}"));
        // Any heap takes it: threads may share it.
        match Gc::try_place(mutation, Static(weak)) {
            Ok(record) => GcWeak { record, pointer },
            Err(error) => panic!("no memory for a handle: {error}"),
        }
    }
}

impl<'gc, T: ?Sized> GcWeak<'gc, T> {
    /// The object, unless it is gone.
    #[inline]
    pub fn upgrade(self, mutation: &Mutation<'gc>) -> Option<Gc<'gc, T>> {
        self.record.0.get(&mutation.core().raw)?;
        // Invariant 1, and it stays so until the next boundary.
        Some(Gc::from_pointer(self.pointer))
    }

    /// Whether the object is gone, as far as is known this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, GcWeak, Heap, Lock, Root};
    /// let heap = Heap::new(Default::default())?;
    /// let kept: Root<Lock<GcWeak<'static, u64>>> =
    ///     heap.run(|cx| cx.root(Gc::new(cx, Lock::new(Gc::downgrade(cx, Gc::new(cx, 7))))));
    /// assert!(!heap.run(|cx| kept.get(cx).get().is_dropped()));
    /// heap.collect();
    /// assert!(heap.run(|cx| kept.get(cx).get().is_dropped()));
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    #[inline]
    pub fn is_dropped(self) -> bool {
        self.record.0.is_cleared()
    }

    /// The address, also when nothing of the kind is there any more.
    #[inline]
    pub fn as_ptr(self) -> *const T {
        self.pointer.as_ptr()
    }

    /// Whether both are of the same place. When both objects are gone they may have been at one place one after the other.
    #[inline]
    pub fn ptr_eq(a: GcWeak<'gc, T>, b: GcWeak<'gc, T>) -> bool {
        ::core::ptr::addr_eq(a.pointer.as_ptr(), b.pointer.as_ptr())
    }

    /// Another pointer to the same place.
    ///
    /// # Safety
    ///
    /// `coerce` returns its argument, as a pointer to a type of which the object is a value as well.
    pub(super) unsafe fn coerce<U: ?Sized>(
        self,
        coerce: impl FnOnce(*const T) -> *const U,
    ) -> GcWeak<'gc, U> {
        let pointer = NonNull::new(coerce(self.pointer.as_ptr()).cast_mut());
        GcWeak { record: self.record, pointer: pointer.expect("the same address") }
    }
}

impl<T: ?Sized> Clone for GcWeak<'_, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for GcWeak<'_, T> {}

impl<T: ?Sized> fmt::Debug for GcWeak<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_dropped() { "gone" } else { "alive" };
        write!(f, "GcWeak({:?}, {state})", self.pointer)
    }
}

// SAFETY: the record is kept, at its place, and not what it is of.
unsafe impl<'gc, T: ?Sized> Trace<'gc> for GcWeak<'gc, T> {
    const SHAPE: Shape = Shape::FREE.with(offset_of!(GcWeak<'gc, T>, record), Shape::WORD);

    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.record.trace(tracer);
    }
}

impl<F: Family> Family for GcWeak<'static, F> {
    type At<'gc> = GcWeak<'gc, F::At<'gc>>;
}
