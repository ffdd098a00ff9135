//! Heaps, and the threads that use them.

use crate::raw::{self, Config, GcError, HeapError};
use crate::typed::context::Cx;
use crate::typed::core::Core;
use crate::typed::kind::{Kind, Local, Shared};
use ::core::fmt;
use ::core::marker::PhantomData;
use ::core::ops::{ControlFlow, Deref};
use std::sync::Arc;

/// A thread's way into a heap.
///
/// It belongs to its thread, which is at a boundary whenever it is not inside [`run`](Mutator::run).
pub struct Mutator<K: Kind = Shared> {
    core: Core,
    /// Of a shared heap. After the core, so that it is detached by then.
    _user: Option<Arc<User>>,
    kind: PhantomData<K>,
}

impl<K: Kind> fmt::Debug for Mutator<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mutator of {:?}", self.core.raw.heap())
    }
}

impl<K: Kind> Mutator<K> {
    fn new(raw: raw::Mutator, user: Option<Arc<User>>) -> Mutator<K> {
        Mutator { core: Core::new(raw), _user: user, kind: PhantomData }
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    /// Calls `f` with the heap. References to objects live inside it only; its result cannot hold one.
    ///
    /// Its end is a boundary, unless it is called inside another `run` on this heap: the heap is collected if it is time. While it
    /// runs nothing is, so who works for long returns now and then, as [`run_steps`](Mutator::run_steps) does.
    /// A panic ends it like a return.
    ///
    /// Costs about a nanosecond.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap, Root};
    /// let heap = Heap::new(Default::default())?;
    /// let root: Root<u64> = heap.run(|cx| cx.root(Gc::new(cx, 7)));
    /// assert_eq!(heap.run(|cx| *root.get(cx) + 1), 8);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    #[inline]
    pub fn run<R>(&self, f: impl for<'gc> FnOnce(&'gc Cx<'gc, K>) -> R) -> R {
        self.core.enter(|| Cx::with(&self.core, f))
    }

    /// Calls `step` until it breaks, with a boundary after each call. For interpreters: a step goes on until
    /// [`wants_boundary`](crate::typed::Mutation::wants_boundary) or for some thousand instructions,
    /// and leaves its state in a [`Root`](crate::typed::Root).
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap, Root, Slot};
    /// use std::ops::ControlFlow;
    ///
    /// let heap = Heap::new(Default::default())?;
    /// let place: Root<Slot<Gc<'static, u64>>> =
    ///     heap.run(|cx| cx.root(Gc::new(cx, Slot::new(Gc::new(cx, 0)))));
    /// let result = heap.run_steps(|cx| {
    ///     let place = place.get(cx);
    ///     while *place.get() < 1_000_000 {
    ///         place.set(cx, Gc::new(cx, *place.get() + 1));
    ///         if cx.wants_boundary() {
    ///             return ControlFlow::Continue(());
    ///         }
    ///     }
    ///     ControlFlow::Break(*place.get())
    /// });
    /// assert_eq!(result, 1_000_000);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn run_steps<B>(
        &self,
        mut step: impl for<'gc> FnMut(&'gc Cx<'gc, K>) -> ControlFlow<B>,
    ) -> B {
        loop {
            if let ControlFlow::Break(result) = self.run(&mut step) {
                return result;
            }
        }
    }

    /// Collects now, and drops what is dead.
    ///
    /// # Panics
    ///
    /// Inside `run`.
    #[track_caller]
    pub fn collect(&self) {
        match self.try_collect() {
            Ok(()) | Err(GcError::StopTimedOut(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Collects now, and drops what is dead.
    ///
    /// # Errors
    ///
    /// [`GcError::Reentrant`] inside `run`; [`GcError::StopTimedOut`] when another thread stayed inside for longer than the
    /// heap waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::GcError;
    /// use mallocgc::typed::{Gc, Heap};
    ///
    /// let heap = Heap::new(Default::default())?;
    /// heap.run(|cx| {
    ///     let object = Gc::new(cx, 7u64);
    ///     assert_eq!(heap.try_collect(), Err(GcError::Reentrant));
    ///     assert_eq!(*object, 7);
    /// });
    /// heap.try_collect().unwrap();
    /// assert_eq!(heap.raw().stats().heap_objects, 0);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn try_collect(&self) -> Result<(), GcError> {
        self.core.collect()
    }

    /// The heap, for settings and statistics.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::Heap;
    /// let heap = Heap::new(Default::default())?;
    /// heap.raw().set_gc_percent(Some(50));
    /// assert_eq!(heap.raw().stats().heap_objects, 0);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn raw(&self) -> &raw::Heap {
        self.core.raw.heap()
    }
}

/// A heap that belongs to one thread, and takes objects of any type.
///
/// What is dropped in it is dropped by that thread: the values of dead objects at boundaries, all others with the
/// heap. A [`Root`](crate::typed::Root) or [`Weak`](crate::typed::Weak) that is left keeps the memory, but no
/// object can be reached by it any more.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap};
/// use std::rc::Rc;
///
/// let heap = Heap::new(Default::default())?;
/// let rc = Rc::new(());
/// heap.run(|cx| drop(Gc::new(cx, rc.clone())));
/// assert_eq!(Rc::strong_count(&rc), 2);
/// heap.collect();
/// assert_eq!(Rc::strong_count(&rc), 1);
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Heap {
    mutator: Mutator<Local>,
}

impl Heap {
    /// Makes a heap.
    ///
    /// # Errors
    ///
    /// When the system refuses memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::Config;
    /// use mallocgc::typed::{AllocError, Gc, Heap};
    ///
    /// let heap = Heap::new(Config { heap_limit_bytes: 8 << 20, ..Config::default() })?;
    /// let result = heap.run(|cx| {
    ///     loop {
    ///         Gc::try_new(cx, [0u8; 4096])?;
    ///     }
    ///     #[allow(unreachable_code)]
    ///     Ok::<(), AllocError>(())
    /// });
    /// assert!(matches!(result, Err(AllocError::NeedsBoundary(_))));
    /// heap.run(|cx| assert!(Gc::try_new(cx, [0u8; 4096]).is_ok()));
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn new(config: Config) -> Result<Heap, HeapError> {
        let raw = raw::Heap::new(config)?;
        Ok(Heap { mutator: Mutator::new(raw.attach()?, None) })
    }
}

impl Deref for Heap {
    type Target = Mutator<Local>;

    fn deref(&self) -> &Mutator<Local> {
        &self.mutator
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // Handles elsewhere may keep the memory, but the values are this thread's.
        let raw = &self.mutator.core.raw;
        raw.become_active();
        drop_values(raw);
        raw.become_safe();
    }
}

/// Drops the values of a heap that nobody will use any more. The mutator is active, so that nobody who has the memory
/// traces one while it is dropped.
fn drop_values(raw: &raw::Mutator) {
    raw.end_marking();
    raw.inner().discard_specials();
}

/// The last one ends a shared heap: objects may have handles that keep its memory, so their values are
/// dropped here.
struct User {
    raw: raw::Heap,
}

impl Drop for User {
    fn drop(&mut self) {
        // Without memory for it, or inside a callback, values are dropped with the memory.
        if let Ok(raw) = self.raw.attach() {
            drop_values(&raw);
        }
    }
}

/// A heap for many threads, which takes objects that are `Send` and `Sync`. Clones are handles to the same heap.
///
/// When the last of them and the last mutator are gone, the values of all objects are dropped, whatever roots are left. An
/// object that holds a `SharedHeap` keeps its heap for ever.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Root, SharedHeap, Slot, Trace};
///
/// #[derive(Trace)]
/// struct Node<'gc> {
///     next: Slot<Option<Gc<'gc, Node<'gc>>>>,
/// }
///
/// let heap = SharedHeap::new(Default::default())?;
/// let (sender, roots) = std::sync::mpsc::channel::<Root<Node<'static>>>();
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let mutator = heap.attach().unwrap();
///         mutator.run(|cx| sender.send(cx.root(Gc::new(cx, Node { next: Slot::default() }))))
///     });
///     let mutator = heap.attach().unwrap();
///     let root = roots.recv().unwrap();
///     mutator.run(|cx| assert!(root.get(cx).next.get().is_none()));
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[derive(Clone)]
pub struct SharedHeap {
    user: Arc<User>,
}

impl fmt::Debug for SharedHeap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedHeap of {:?}", self.raw())
    }
}

impl SharedHeap {
    /// Makes a heap.
    ///
    /// # Errors
    ///
    /// When the system refuses memory.
    pub fn new(config: Config) -> Result<SharedHeap, HeapError> {
        Ok(SharedHeap { user: Arc::new(User { raw: raw::Heap::new(config)? }) })
    }

    /// The calling thread's way into the heap.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, SharedHeap};
    /// let heap = SharedHeap::new(Default::default())?;
    /// std::thread::scope(|scope| {
    ///     for thread in 0..4u64 {
    ///         let heap = &heap;
    ///         scope.spawn(move || {
    ///             let mutator = heap.attach().unwrap();
    ///             mutator.run(|cx| assert_eq!(*Gc::new(cx, thread), thread));
    ///         });
    ///     }
    /// });
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn attach(&self) -> Result<Mutator<Shared>, HeapError> {
        Ok(Mutator::new(self.raw().attach()?, Some(self.user.clone())))
    }

    /// The heap, for settings and statistics.
    pub fn raw(&self) -> &raw::Heap {
        &self.user.raw
    }
}
