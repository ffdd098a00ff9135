//! Finalizers that are given the heap and the object.
//!
//! They run at boundaries, on a thread that is a mutator of the heap anyway: in a [`Heap`](crate::typed::Heap) its only one, in a
//! [`SharedHeap`](crate::typed::SharedHeap) the first that comes by. So a finalizer may do what any `run` may, and needs no lock
//! against its own thread; and in a heap of one thread neither it nor the object need be `Send`.
//!
//! What a finalizer captures outlives every `run`, so that it can hold no reference, least of all to its own
//! object. A [`Root`](crate::typed::Root) it can hold, and one of its own object keeps that alive for ever.

use crate::raw::{FinalizerError, Placement, action::OwnedFinalizer};
use crate::typed::context::Cx;
use crate::typed::core::Core;
use crate::typed::gc::Gc;
use crate::typed::handled::{Handled, Wide};
use crate::typed::kind::{Accepts, Kind};
use ::core::marker::PhantomData;
use ::core::ptr::NonNull;

/// A finalizer of objects `F` in heaps of a kind.
///
/// # Invariants
///
/// 1. It is attached to an object of type `F::At`, a reference to which has `wide` besides its address, in a heap of
///    kind `K`.
struct Finalizer<K, F: ?Sized + Handled, C> {
    wide: F::Wide,
    function: C,
    kind: PhantomData<fn(K, Box<F>)>,
}

impl<K, F, C> OwnedFinalizer for Finalizer<K, F, C>
where
    K: Kind,
    F: ?Sized + Handled,
    C: for<'gc> FnOnce(&'gc Cx<'gc, K>, Gc<'gc, F::At<'gc>>),
{
    unsafe fn run(self: Box<Self>, user: *const (), object: NonNull<u8>) {
        // SAFETY: `Core::settle` passes itself.
        let core = unsafe { &*user.cast::<Core>() };
        let Finalizer { wide, function, .. } = *self;
        core.enter(|| {
            Cx::<K>::with(core, |cx| {
                // SAFETY: invariant 1. The object and all that it refers to are alive until this has run.
                function(cx, unsafe { wide.with_address(object) });
            });
        });
    }
}

impl<'gc, K: Kind> Cx<'gc, K> {
    /// Lets `finalizer` run once the object is unreachable, at a boundary after the cycle that finds it so. It is
    /// given the object, with all that it refers to, and may store it anywhere, which makes it reachable again; it may allocate, and
    /// set a finalizer anew. A panic ends with its call and is counted
    /// ([`special_counts`](crate::raw::Heap::special_counts)).
    ///
    /// If an object refers to another and both have finalizers, its own runs first, and the other's in a later cycle. Objects that
    /// refer to themselves, over however many others, are never finalized. Nothing runs because a heap ends. A
    /// destructor runs when the object is found dead after that.
    ///
    /// In a [`SharedHeap`](crate::typed::SharedHeap) any thread may run it, so it must be [`Send`] and [`Sync`].
    ///
    /// # Errors
    ///
    /// [`FinalizerError::AlreadySet`] when the object has one; [`FinalizerError::OutOfMemory`]. The function is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap, Root, Slot, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Connection<'gc> {
    ///     number: u64,
    ///     next: Slot<Option<Gc<'gc, Connection<'gc>>>>,
    /// }
    ///
    /// let heap = Heap::new(Default::default())?;
    /// // Connections that nobody uses any more, to be used again.
    /// let idle: Root<Slot<Option<Gc<'static, Connection<'static>>>>> =
    ///     heap.run(|cx| cx.root(Gc::new(cx, Slot::default())));
    /// heap.run(|cx| {
    ///     let connection = Gc::new(cx, Connection { number: 7, next: Slot::default() });
    ///     let idle = idle.clone();
    ///     cx.set_finalizer::<Connection<'static>, _>(connection, move |cx, connection| {
    ///         let idle = idle.get(cx);
    ///         connection.next.set(cx, idle.get());
    ///         idle.set(cx, Some(connection));
    ///     })
    ///     .unwrap();
    /// });
    /// heap.collect();
    /// assert_eq!(heap.run(|cx| idle.get(cx).get().unwrap().number), 7);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn set_finalizer<F, C>(
        &self,
        object: Gc<'gc, F::At<'gc>>,
        finalizer: C,
    ) -> Result<(), FinalizerError>
    where
        F: ?Sized + Handled,
        C: for<'any> FnOnce(&'any Cx<'any, K>, Gc<'any, F::At<'any>>) + 'static,
        K: Accepts<F::At<'gc>> + Accepts<C>,
    {
        let wide = F::Wide::of(object);
        let finalizer = Finalizer::<K, F, C> { wide, function: finalizer, kind: PhantomData };
        let place = object.as_non_null().cast();
        // It is run by `Core::settle`: on a thread of a heap of kind `K`.
        self.core().raw.set_owned_finalizer(place, Box::new(finalizer)).map(|_: Placement| ())
    }

    /// Takes the finalizer off an object, and drops it; whether the object had one.
    ///
    /// # Errors
    ///
    /// [`FinalizerError::Reentrant`] inside a callback of a heap.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap};
    /// let heap = Heap::new(Default::default())?;
    /// heap.run(|cx| {
    ///     let object = Gc::new(cx, 7u64);
    ///     cx.set_finalizer::<u64, _>(object, |_, _| unreachable!()).unwrap();
    ///     assert!(cx.set_finalizer::<u64, _>(object, |_, _| unreachable!()).is_err(), "one is enough");
    ///     assert_eq!(cx.clear_finalizer(object), Ok(true));
    ///     assert_eq!(cx.clear_finalizer(object), Ok(false));
    /// });
    /// heap.collect();
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn clear_finalizer<T: ?Sized>(&self, object: Gc<'gc, T>) -> Result<bool, FinalizerError> {
        self.core().raw.clear_owned_finalizer(object.as_non_null().cast())
    }
}
