//! Roots that live as long as a set of them does, after gc-arena.

use crate::layout::Tracer;
use crate::typed::context::{Cx, Mutation};
use crate::typed::family::Family;
use crate::typed::gc::Gc;
use crate::typed::kind::Accepts;
use crate::typed::shape::Shape;
use crate::typed::shared_lock::SharedLock;
use crate::typed::trace::Trace;
use ::core::fmt;
use ::core::marker::PhantomData;
use ::core::ptr::NonNull;
use std::sync::{Arc, Weak};

/// A set of objects that handles outside of the heap name, and which live only if the set does too. A
/// [`Root`](crate::typed::Root) keeps its object by itself; use this where what the handles name may lead to who holds the handles:
/// a coroutine in an object, that has handles to objects which lead to it.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{DynamicRoot, DynamicRootSet, Gc, Heap, Root};
///
/// let heap = Heap::new(Default::default())?;
/// let set: Root<DynamicRootSet<'static>> =
///     heap.run(|cx| cx.root(Gc::new(cx, DynamicRootSet::new(cx))));
/// let number: DynamicRoot<u64> = heap.run(|cx| set.get(cx).stash(cx, Gc::new(cx, 7)));
/// heap.collect();
/// heap.run(|cx| assert_eq!(*set.get(cx).fetch(cx, &number), 7));
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[derive(Clone, Copy)]
pub struct DynamicRootSet<'gc>(Gc<'gc, Set<'gc>>);

struct Set<'gc> {
    /// What handles are of the set: those that point here.
    identity: Arc<()>,
    entries: SharedLock<Entries<'gc>>,
}

/// # Invariants
///
/// 1. An entry's object is alive at every boundary at which its handle is.
#[derive(Default)]
struct Entries<'gc> {
    all: Vec<Entry<'gc>>,
    /// The entries are looked through for those without a handle when there are so many.
    look_at: usize,
}

struct Entry<'gc> {
    object: Gc<'gc, ()>,
    handle: Weak<Handle>,
}

/// What the clones of a handle share.
#[derive(Debug)]
struct Handle {
    set: Arc<()>,
    /// Where the object is.
    place: NonNull<()>,
}

// SAFETY: the place is a number until a set is there, whose heap it is in.
unsafe impl Send for Handle {}
// SAFETY: as for `Send`.
unsafe impl Sync for Handle {}

// SAFETY: an object without a handle nobody asks for any more, since there is none to be cloned. What
// is dropped are handles' counts.
unsafe impl<'gc> Trace<'gc> for Entries<'gc> {
    const SHAPE: Shape = Shape::FUNCTION;

    fn trace(&self, tracer: &mut Tracer<'_>) {
        for entry in &self.all {
            if entry.handle.strong_count() != 0 {
                entry.object.trace(tracer);
            }
        }
    }
}

// SAFETY: the entries are passed on.
unsafe impl<'gc> Trace<'gc> for Set<'gc> {
    const SHAPE: Shape = Shape::FUNCTION;

    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.entries.trace(tracer);
    }
}

// SAFETY: it is one reference, at its begin.
unsafe impl<'gc> Trace<'gc> for DynamicRootSet<'gc> {
    const SHAPE: Shape = Shape::WORD;

    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.0.trace(tracer);
    }
}

impl Family for DynamicRootSet<'static> {
    type At<'gc> = DynamicRootSet<'gc>;
}

impl<'gc> DynamicRootSet<'gc> {
    /// A set without objects.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    pub fn new(mutation: &Mutation<'gc>) -> DynamicRootSet<'gc> {
        let entries = SharedLock::new(Entries { all: Vec::new(), look_at: 16 });
        let set = Set { identity: Arc::new(()), entries };
        // Any heap takes it: threads may share it.
        let set = Gc::try_place(mutation, set);
        DynamicRootSet(set.unwrap_or_else(|error| panic!("no memory for a set: {error}")))
    }

    /// Keeps an object as long as the handle and the set live.
    pub fn stash<F: Family>(
        self,
        cx: &Cx<'gc, impl Accepts<F::At<'gc>>>,
        object: Gc<'gc, F::At<'gc>>,
    ) -> DynamicRoot<F> {
        let object = Gc::erase(object);
        let (set, place) = (self.0.identity.clone(), object.as_non_null());
        let handle = Arc::new(Handle { set, place });
        let mut entries = self.0.entries.write(cx);
        if entries.all.len() >= entries.look_at {
            entries.all.retain(|entry| entry.handle.strong_count() != 0);
            entries.look_at = 16.max(2 * entries.all.len());
        }
        entries.all.push(Entry { object, handle: Arc::downgrade(&handle) });
        DynamicRoot { handle, family: PhantomData }
    }

    /// The object of a handle.
    ///
    /// # Panics
    ///
    /// When the handle is of another set; [`try_fetch`](DynamicRootSet::try_fetch) does not.
    #[track_caller]
    pub fn fetch<F: Family>(
        self,
        mutation: &Mutation<'gc>,
        root: &DynamicRoot<F>,
    ) -> Gc<'gc, F::At<'gc>> {
        self.try_fetch(mutation, root).expect("the handle is of another set")
    }

    /// The object of a handle, if it is of this set.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{DynamicRoot, DynamicRootSet, Gc, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let (set, other) = (DynamicRootSet::new(cx), DynamicRootSet::new(cx));
    ///     let handle: DynamicRoot<u64> = set.stash(cx, Gc::new(cx, 1));
    ///     assert_eq!(set.try_fetch(cx, &handle).as_deref(), Some(&1));
    ///     assert!(other.try_fetch(cx, &handle).is_none());
    /// });
    /// ```
    pub fn try_fetch<F: Family>(
        self,
        mutation: &Mutation<'gc>,
        root: &DynamicRoot<F>,
    ) -> Option<Gc<'gc, F::At<'gc>>> {
        if !self.contains(root) {
            return None;
        }
        // If the handle goes now the marker will not find the object here, and need not have been here yet.
        let raw = &mutation.core().raw;
        if raw.is_marking() {
            raw.shade(root.handle.place.addr().get());
        }
        // The set is here, so it has kept the object since it was stashed, and it was such a reference.
        Some(Gc::from_pointer(root.handle.place.cast()))
    }

    /// Whether a handle is of this set.
    pub fn contains<F: Family>(self, root: &DynamicRoot<F>) -> bool {
        Arc::ptr_eq(&self.0.identity, &root.handle.set)
    }
}

impl fmt::Debug for DynamicRootSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamicRootSet({:p})", self.0)
    }
}

/// Names an object of a [`DynamicRootSet`]. It may be cloned, sent and dropped anywhere.
pub struct DynamicRoot<F: Family> {
    handle: Arc<Handle>,
    /// Invariant, as in `Root`.
    family: PhantomData<fn(F) -> F>,
}

impl<F: Family> Clone for DynamicRoot<F> {
    fn clone(&self) -> DynamicRoot<F> {
        DynamicRoot { handle: self.handle.clone(), family: PhantomData }
    }
}

impl<F: Family> fmt::Debug for DynamicRoot<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamicRoot({:?})", self.handle.place)
    }
}
