//! Roots that live as long as a call: for native code that recurses across boundaries.
//!
//! An interpreter whose evaluator calls itself holds references on the native stack, where nobody looks. Between two
//! `run`s it keeps them in a scope: a part of the mutator's root stack that begins with a call and ends with it, however it
//! ends. Making one is a store and a comparison; no lock, no atomic operation, nothing to free one by one.
//!
//! Scopes are closures, so that they end in the reverse order of their begins, and a handle cannot leave its scope: its
//! lifetime is unlike any other, as that of a `run` is. What the types do not say is asked at run time: that a
//! root is made in the innermost scope, and used with a context of its own mutator.
//!
//! The collector reads the stack in the stop that begins a cycle, or in that which is the cycle. What overwrites a root
//! afterwards loses nothing, since what was there then has been seen.
//!
//! Source: handle scopes as in V8 and `Rooted` of SpiderMonkey.

use crate::typed::context::Cx;
use crate::typed::core::Core;
use crate::typed::family::Family;
use crate::typed::gc::Gc;
use crate::typed::handled::{Handled, Wide};
use crate::typed::heap::Mutator;
use crate::typed::kind::{Kind, Shared};
use ::core::fmt;
use ::core::marker::PhantomData;
use ::core::ops::Deref;

/// A part of a mutator's root stack, open for the length of a call to [`Mutator::scope`].
///
/// It is the mutator, too, so that what has it can [`run`](Mutator::run).
pub struct Scope<'s, K: Kind = Shared> {
    mutator: &'s Mutator<K>,
    /// Which of the mutator's open scopes it is.
    number: usize,
    /// Neither longer nor shorter.
    brand: PhantomData<::core::cell::Cell<&'s ()>>,
}

impl<K: Kind> fmt::Debug for Scope<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope {} of {:?}", self.number, self.mutator)
    }
}

impl<K: Kind> Deref for Scope<'_, K> {
    type Target = Mutator<K>;

    fn deref(&self) -> &Mutator<K> {
        self.mutator
    }
}

/// Keeps an object alive until its [`Scope`] ends.
///
/// `F` is as for [`Root`](crate::typed::Root). The value itself is a number, which can be copied; all copies are the same root.
///
/// # Invariants
///
/// 1. While `'s` lasts, the root stack of the core's mutator has a root with this number that is of an object of type
///    `F::At`, a reference to which has `wide` besides its address.
pub struct LocalRoot<'s, F: ?Sized + Handled> {
    core: *const Core,
    index: usize,
    wide: F::Wide,
    /// Neither longer nor shorter.
    brand: PhantomData<::core::cell::Cell<&'s ()>>,
    /// A root of one family is none of another.
    family: PhantomData<fn(Box<F>) -> Box<F>>,
}

impl<F: ?Sized + Handled> Clone for LocalRoot<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: ?Sized + Handled> Copy for LocalRoot<'_, F> {}

impl<F: ?Sized + Handled> fmt::Debug for LocalRoot<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalRoot({})", self.index)
    }
}

/// Ends a scope, by return or by panic.
struct End<'a> {
    core: &'a Core,
    roots: usize,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.core.end_scope(self.roots);
    }
}

impl<K: Kind> Mutator<K> {
    /// Opens a scope of roots, which ends when `f` returns or panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap, Kind, Accepts, LocalRoot, Mutator, Scope, Slot, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Pair<'gc> {
    ///     left: Option<Gc<'gc, Pair<'gc>>>,
    ///     right: Option<Gc<'gc, Pair<'gc>>>,
    /// }
    ///
    /// /// Makes a tree by native recursion, with boundaries all the time.
    /// fn tree<'s, K: Kind>(
    ///     scope: &Scope<'s, K>,
    ///     result: LocalRoot<'s, Slot<Option<Gc<'static, Pair<'static>>>>>,
    ///     depth: u32,
    /// ) where
    ///     K: for<'gc> Accepts<Pair<'gc>> + for<'gc> Accepts<Slot<Option<Gc<'gc, Pair<'gc>>>>>,
    /// {
    ///     if depth == 0 {
    ///         return;
    ///     }
    ///     scope.scope(|inner| {
    ///         let [left, right] = [(); 2].map(|()| {
    ///             let place = inner.run(|cx| inner.root(cx, Gc::new(cx, Slot::default())));
    ///             tree(inner, place, depth - 1);
    ///             place
    ///         });
    ///         inner.run(|cx| {
    ///             let (left, right) = (left.get(cx).get(), right.get(cx).get());
    ///             result.get(cx).set(cx, Some(Gc::new(cx, Pair { left, right })));
    ///         });
    ///     });
    /// }
    ///
    /// fn count(pair: Option<Gc<'_, Pair<'_>>>) -> u32 {
    ///     pair.map_or(0, |pair| 1 + count(pair.left) + count(pair.right))
    /// }
    ///
    /// let heap = Heap::new(Default::default())?;
    /// heap.scope(|scope| {
    ///     let place = heap.run(|cx| scope.root(cx, Gc::new(cx, Slot::default())));
    ///     tree(scope, place, 8);
    ///     heap.collect();
    ///     assert_eq!(heap.run(|cx| count(place.get(cx).get())), 255);
    /// });
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn scope<R>(&self, f: impl for<'s> FnOnce(&'s Scope<'s, K>) -> R) -> R {
        let core = self.core();
        let (number, roots) = core.begin_scope();
        let _end = End { core, roots };
        f(&Scope { mutator: self, number, brand: PhantomData })
    }
}

impl<'s, K: Kind> Scope<'s, K> {
    /// Keeps an object alive until the scope ends.
    ///
    /// # Panics
    ///
    /// When a scope inside this one is open, when the context is of another mutator, or when there is no memory for more roots
    /// (a hundred million).
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap};
    /// let heap = Heap::new(Default::default())?;
    /// let sum = heap.scope(|scope| {
    ///     let numbers = [1, 2, 3u64].map(|n| heap.run(|cx| scope.root::<u64>(cx, Gc::new(cx, n))));
    ///     heap.collect();
    ///     heap.run(|cx| numbers.iter().map(|number| *number.get(cx)).sum::<u64>())
    /// });
    /// assert_eq!(sum, 6);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn root<'gc, F>(&self, cx: &Cx<'gc, K>, object: Gc<'gc, F::At<'gc>>) -> LocalRoot<'s, F>
    where
        F: ?Sized + Handled,
    {
        let core = self.mutator.core();
        assert!(
            ::core::ptr::eq(core, cx.core()),
            "the context is of another mutator than the scope"
        );
        assert_eq!(self.number, core.open_scopes(), "a scope inside this one is open");
        let index = core.raw.push_root(object.as_non_null().cast());
        let wide = F::Wide::of(object);
        LocalRoot { core, index, wide, brand: PhantomData, family: PhantomData }
    }
}

impl<F: ?Sized + Handled> LocalRoot<'_, F> {
    /// The object.
    ///
    /// # Panics
    ///
    /// When the context is of another mutator than the scope.
    #[inline]
    #[track_caller]
    pub fn get<'gc, K: Kind>(&self, cx: &Cx<'gc, K>) -> Gc<'gc, F::At<'gc>> {
        let raw = &self.core(cx).raw;
        // SAFETY: invariant 1; the root has kept it alive.
        unsafe { self.wide.with_address(raw.root(self.index)) }
    }

    #[inline]
    #[track_caller]
    fn core<'c, K: Kind>(&self, cx: &'c Cx<'_, K>) -> &'c Core {
        assert!(
            ::core::ptr::eq(self.core, cx.core()),
            "the context is of another mutator than the local root"
        );
        cx.core()
    }
}

impl<F: Family> LocalRoot<'_, F> {
    /// Lets the root keep another object alive instead.
    ///
    /// # Panics
    ///
    /// When the context is of another mutator than the scope.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap};
    /// let heap = Heap::new(Default::default())?;
    /// heap.scope(|scope| {
    ///     let newest = heap.run(|cx| scope.root::<u64>(cx, Gc::new(cx, 0)));
    ///     for n in 1..=3 {
    ///         heap.run(|cx| newest.set(cx, Gc::new(cx, n)));
    ///     }
    ///     heap.collect();
    ///     assert_eq!(heap.run(|cx| *newest.get(cx)), 3);
    ///     assert_eq!(heap.raw().stats().heap_objects, 1);
    /// });
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn set<'gc, K: Kind>(&self, cx: &Cx<'gc, K>, object: Gc<'gc, F::At<'gc>>) {
        // It stays an object of the same type (invariant 1).
        self.core(cx).raw.set_root(self.index, object.as_non_null().cast());
    }
}
