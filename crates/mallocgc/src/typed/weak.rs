//! Handles that do not keep objects alive.

use crate::layout::Tracer;
use crate::raw;
use crate::typed::context::Cx;
use crate::typed::family::Family;
use crate::typed::gc::Gc;
use crate::typed::kind::{Accepts, Kind};
use crate::typed::shape::Shape;
use crate::typed::trace::Trace;
use ::core::fmt;
use ::core::hash::{Hash, Hasher};
use ::core::marker::PhantomData;
use ::core::ptr::NonNull;

/// Names an object without keeping it alive. An ordinary value, inside objects too; equal handles are of the same
/// object, also after its death.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, Weak};
/// let heap = Heap::new(Default::default())?;
/// let (root, weak): (_, Weak<u64>) = heap.run(|cx| {
///     let object = Gc::new(cx, 7u64);
///     (cx.root::<u64>(object), cx.downgrade(object))
/// });
/// heap.collect();
/// heap.run(|cx| assert_eq!(*weak.upgrade(cx).unwrap(), 7));
/// drop(root);
/// heap.collect();
/// heap.run(|cx| assert!(weak.upgrade(cx).is_none()));
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
///
/// A handle of one family is none of another, though the one be a subtype of the other:
///
/// ```compile_fail
/// use mallocgc::typed::{Static, Weak};
/// type Any = Static<for<'a> fn(&'a str)>;
/// type Only = Static<fn(&'static str)>;
/// fn weaken(handle: Weak<Any>) -> Weak<Only> {
///     handle
/// }
/// ```
pub struct Weak<F: Family> {
    raw: raw::Weak,
    heap: u64,
    /// Invariant: a supertype of `F` may be the family of other objects.
    family: PhantomData<fn(F) -> F>,
}

impl<F: Family> Weak<F> {
    pub(super) fn new<'gc, K: Accepts<F::At<'gc>>>(
        cx: &Cx<'gc, K>,
        object: Gc<'gc, F::At<'gc>>,
    ) -> Weak<F> {
        let raw = &cx.core().raw;
        let made = raw.weak(object.as_non_null().cast());
        let (weak, _) = made.unwrap_or_else(|error| panic!("no memory for a handle: {error}"));
        Weak { raw: weak, heap: raw.heap().number(), family: PhantomData }
    }

    /// The object, unless it is gone.
    ///
    /// # Panics
    ///
    /// When it is of another heap than the context's.
    #[track_caller]
    pub fn upgrade<'gc, K: Kind>(&self, cx: &Cx<'gc, K>) -> Option<Gc<'gc, F::At<'gc>>> {
        let raw = &cx.core().raw;
        assert_eq!(self.heap, raw.heap().number(), "the weak handle is of another heap");
        let object: NonNull<u8> = self.raw.get(raw)?;
        // It was made of such a reference, and is alive until the next boundary.
        Some(Gc::from_pointer(object.cast()))
    }

    /// Whether the object is gone, as far as is known this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap, Weak};
    /// let heap = Heap::new(Default::default())?;
    /// let weak: Weak<u64> = heap.run(|cx| cx.downgrade(Gc::new(cx, 7)));
    /// assert!(!weak.is_dead());
    /// heap.collect();
    /// assert!(weak.is_dead());
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn is_dead(&self) -> bool {
        self.raw.is_cleared()
    }
}

impl<F: Family> Clone for Weak<F> {
    fn clone(&self) -> Weak<F> {
        Weak { raw: self.raw.clone(), heap: self.heap, family: PhantomData }
    }
}

impl<F: Family> PartialEq for Weak<F> {
    fn eq(&self, other: &Weak<F>) -> bool {
        self.raw == other.raw
    }
}

impl<F: Family> Eq for Weak<F> {}

impl<F: Family> Hash for Weak<F> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}

impl<F: Family> fmt::Debug for Weak<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl<F: Family> Family for Weak<F> {
    type At<'gc> = Weak<F>;
}

// SAFETY: it keeps nothing alive, and dropping it looks at no object.
unsafe impl<'gc, F: Family> Trace<'gc> for Weak<F> {
    const SHAPE: Shape = Shape::FREE;

    #[inline]
    fn trace(&self, _: &mut Tracer<'_>) {}
}

impl<'gc, K: Kind> Cx<'gc, K> {
    /// Names an object without keeping it alive.
    ///
    /// # Panics
    ///
    /// When there is no memory for the handle.
    pub fn downgrade<F: Family>(&self, object: Gc<'gc, F::At<'gc>>) -> Weak<F>
    where
        K: Accepts<F::At<'gc>>,
    {
        Weak::new(self, object)
    }

    /// An object that holds a handle to itself, or lets others hold one: `make` is given the
    /// handle, which leads nowhere until the object is made.
    ///
    /// # Panics
    ///
    /// When there is no memory for the object or the handle. A panic of `make` goes on; the
    /// handle leads nowhere then, for ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Heap, Trace, Weak};
    ///
    /// #[derive(Trace)]
    /// struct Widget {
    ///     name: &'static str,
    ///     this: Weak<Widget>,
    /// }
    ///
    /// let heap = Heap::new(Default::default())?;
    /// heap.run(|cx| {
    ///     let widget = cx.new_cyclic::<Widget>(|this| {
    ///         assert!(this.upgrade(cx).is_none(), "not yet");
    ///         Widget { name: "button", this: this.clone() }
    ///     });
    ///     assert_eq!(widget.this.upgrade(cx).unwrap().name, "button");
    /// });
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn new_cyclic<F: Family>(
        &self,
        make: impl FnOnce(&Weak<F>) -> F::At<'gc>,
    ) -> Gc<'gc, F::At<'gc>>
    where
        K: Accepts<F::At<'gc>>,
    {
        let core = self.core();
        let lack = || -> ! { panic!("no memory for an object: {}", core.failed()) };
        // SAFETY: nobody gets the place before it is written: the handle is hidden.
        let Some(place) = (unsafe { core.begin::<F::At<'gc>>() }) else { lack() };
        let weak = Weak::<F>::new(self, Gc::from_pointer(place));
        weak.raw.hide();
        let value = make(&weak);
        // SAFETY: memory for such a value, ours alone.
        unsafe { place.write(value) };
        // SAFETY: from `begin`, and written just now.
        if unsafe { core.finish(place) }.is_none() {
            // SAFETY: nobody has it, and nobody will drop it.
            unsafe { place.drop_in_place() };
            lack();
        }
        weak.raw.show(place.cast());
        Gc::from_pointer(place)
    }
}
