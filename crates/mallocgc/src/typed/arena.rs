//! A heap with one root, after gc-arena.

use crate::observe::MemStats;
use crate::raw::{Config, HeapError};
use crate::typed::cell::RefLock;
use crate::typed::context::Cx;
use crate::typed::family::Family;
use crate::typed::gc::Gc;
use crate::typed::heap::Heap;
use crate::typed::root::Root;
use ::core::fmt;

/// A [`Heap`] and one value in it, from which all else is reached: what a program from gc-arena has.
///
/// `F` is the root's type with `'static` for the heap's lifetime, or a [`Rootable!`](macro@crate::typed::Rootable).
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Arena, Gc, RefLock, Rootable, Trace};
///
/// #[derive(Trace)]
/// struct Root<'gc> {
///     words: Gc<'gc, RefLock<Vec<Gc<'gc, str>>>>,
///     count: usize,
/// }
///
/// let mut arena = Arena::<Rootable![Root<'_>]>::new(|cx| Root {
///     words: Gc::new(cx, RefLock::default()),
///     count: 0,
/// });
/// arena.mutate(|cx, root| root.words.borrow_mut(cx).push(Gc::from_str(cx, "one")));
/// arena.mutate_root(|_, root| root.count += 1);
/// arena.finish_cycle();
/// arena.mutate(|_, root| assert_eq!((&*root.words.borrow()[0], root.count), ("one", 1)));
/// ```
pub struct Arena<F: Family> {
    /// The only handle to an object that nobody else has a reference to. A cell, so that a change of the root is one.
    /// Empty while the root is replaced by one of another type.
    root: Root<RefLock<Option<F>>>,
    heap: Heap,
}

impl<F: Family> Arena<F> {
    /// A heap with default settings, and its root.
    ///
    /// # Panics
    ///
    /// When there is no memory; [`with_config`](Arena::with_config) does not.
    pub fn new(make: impl for<'gc> FnOnce(&'gc Cx<'gc>) -> F::At<'gc>) -> Arena<F> {
        let arena = Arena::with_config(Config::default(), make);
        arena.unwrap_or_else(|error| panic!("no memory for a heap: {error}"))
    }

    /// A heap and its root.
    ///
    /// # Errors
    ///
    /// When the system refuses memory.
    ///
    /// # Panics
    ///
    /// When there is none for the root.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::Config;
    /// use mallocgc::typed::{Arena, Gc, Rootable};
    /// let config = Config { heap_limit_bytes: 64 << 20, ..Config::default() };
    /// let arena = Arena::<Rootable![Gc<'_, u64>]>::with_config(config, |cx| Gc::new(cx, 7))?;
    /// assert_eq!(arena.mutate(|_, root| **root), 7);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn with_config(
        config: Config,
        make: impl for<'gc> FnOnce(&'gc Cx<'gc>) -> F::At<'gc>,
    ) -> Result<Arena<F>, HeapError> {
        let heap = Heap::new(config)?;
        let root = heap.run(|cx| store(cx, make(cx)));
        Ok(Arena { root, heap })
    }

    /// A heap with default settings, and its root, unless that fails.
    ///
    /// # Errors
    ///
    /// The function's.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    pub fn try_new<E>(
        make: impl for<'gc> FnOnce(&'gc Cx<'gc>) -> Result<F::At<'gc>, E>,
    ) -> Result<Arena<F>, E> {
        let heap = Heap::new(Config::default());
        let heap = heap.unwrap_or_else(|error| panic!("no memory for a heap: {error}"));
        let root = heap.run(|cx| make(cx).map(|root| store(cx, root)))?;
        Ok(Arena { root, heap })
    }

    /// Calls a function with the heap and the root, as [`run`](crate::typed::Mutator::run) does.
    #[inline]
    pub fn mutate<R>(&self, f: impl for<'gc> FnOnce(&'gc Cx<'gc>, &'gc F::At<'gc>) -> R) -> R {
        self.heap.run(|cx| {
            let cell = self.root.get(cx).as_ref();
            // SAFETY: the object is reached by this arena alone. Who changes it has the arena for itself, and now it is
            // borrowed.
            let root = unsafe { cell.peek() };
            f(cx, root.as_ref().expect("the root is being replaced"))
        })
    }

    /// Calls a function with the heap and the root, which may be changed.
    #[inline]
    pub fn mutate_root<R>(
        &mut self,
        f: impl for<'gc> FnOnce(&'gc Cx<'gc>, &mut F::At<'gc>) -> R,
    ) -> R {
        self.heap.run(|cx| {
            let mut root = self.root.get(cx).as_ref().borrow_mut(cx);
            f(cx, root.as_mut().expect("the root is being replaced"))
        })
    }

    /// Makes of the root one of another type.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Arena, Gc, Rootable};
    /// let text = Arena::<Rootable![Gc<'_, str>]>::new(|cx| Gc::from_str(cx, "42"));
    /// let number = text.map_root::<Rootable![Gc<'_, u64>]>(|cx, text| Gc::new(cx, text.parse().unwrap()));
    /// number.mutate(|_, root| assert_eq!(**root, 42));
    /// ```
    pub fn map_root<G: Family>(
        self,
        f: impl for<'gc> FnOnce(&'gc Cx<'gc>, F::At<'gc>) -> G::At<'gc>,
    ) -> Arena<G> {
        let Arena { root, heap } = self;
        let root = heap.run(|cx| store::<G>(cx, f(cx, take(cx, root))));
        Arena { root, heap }
    }

    /// Makes of the root one of another type, unless that fails: the heap is gone then.
    ///
    /// # Errors
    ///
    /// The function's.
    pub fn try_map_root<G: Family, E>(
        self,
        f: impl for<'gc> FnOnce(&'gc Cx<'gc>, F::At<'gc>) -> Result<G::At<'gc>, E>,
    ) -> Result<Arena<G>, E> {
        let Arena { root, heap } = self;
        let root = heap.run(|cx| f(cx, take(cx, root)).map(|root| store::<G>(cx, root)))?;
        Ok(Arena { root, heap })
    }

    /// Collects if it is time. The end of [`mutate`](Arena::mutate) does so too, so nobody need call it.
    pub fn collect_debt(&mut self) {
        self.heap.run(|_| ());
    }

    /// Collects: what is dead is dropped, and its memory freed.
    pub fn finish_cycle(&mut self) {
        self.heap.collect();
        // The cells of what was dropped.
        self.heap.collect();
    }

    /// Statistics.
    pub fn metrics(&self) -> MemStats {
        self.heap.raw().stats()
    }

    /// The heap, for all else.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }
}

impl<F: Family> fmt::Debug for Arena<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena in {:?}", self.heap)
    }
}

fn store<'gc, F: Family>(cx: &Cx<'gc>, root: F::At<'gc>) -> Root<RefLock<Option<F>>> {
    cx.root(Gc::new(cx, RefLock::new(Some(root))))
}

fn take<'gc, F: Family>(cx: &Cx<'gc>, root: Root<RefLock<Option<F>>>) -> F::At<'gc> {
    let taken = root.get(cx).borrow_mut(cx).take();
    taken.expect("the root is being replaced")
}

/// Calls a function with a heap that ends with it.
///
/// # Panics
///
/// When there is no memory for it.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, rootless_mutate};
/// assert_eq!(rootless_mutate(|cx| *Gc::new(cx, 42)), 42);
/// ```
pub fn rootless_mutate<R>(f: impl for<'gc> FnOnce(&'gc Cx<'gc>) -> R) -> R {
    let heap = Heap::new(Config::default());
    heap.unwrap_or_else(|error| panic!("no memory for a heap: {error}")).run(f)
}
