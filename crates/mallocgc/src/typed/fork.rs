//! Threads inside one `run`, which allocate and read the same objects side by side.
//!
//! Each has a core of its own, and so a cache, a barrier and notes for the marker like any mutator. It is active from its begin to its
//! end, all of which lies in the `run` that it was forked from: that does not go on before its threads have ended, so no boundary
//! comes, no cycle begins or ends, and every reference of the one is good for the other. The gate is not asked when
//! a thread begins (`World::attach_within`): a stop that waits for the `run` must not make its threads wait.
//!
//! What an allocation lacked in a thread is told to the `run`, whose boundary collects for it.

use crate::raw::HeapError;
use crate::typed::context::Cx;
use crate::typed::core::Core;
use crate::typed::kind::Shared;
use ::core::fmt;
use ::core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::io;
use std::sync::Arc;
use std::thread::{self, Builder, Scope, ScopedJoinHandle};

/// Why a thread was not added to a `run`.
#[derive(Debug)]
#[non_exhaustive]
pub enum ForkError {
    /// The heap has no memory for its part, or the thread is inside a callback.
    Heap(HeapError),
    /// The system has no thread.
    Thread(io::Error),
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForkError::Heap(error) => write!(f, "no part of the heap for a thread: {error}"),
            ForkError::Thread(error) => write!(f, "no thread: {error}"),
        }
    }
}

impl std::error::Error for ForkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ForkError::Heap(error) => Some(error),
            ForkError::Thread(error) => Some(error),
        }
    }
}

/// Adds threads to a `run`; made by [`Cx::fork`].
pub struct Fork<'scope, 'env: 'scope, 'gc> {
    threads: &'scope Scope<'scope, 'env>,
    cx: &'env Cx<'gc, Shared>,
    /// Whether an allocation of a thread failed that a boundary may help.
    short: Arc<AtomicBool>,
}

impl fmt::Debug for Fork<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fork of {:?}", self.cx.heap())
    }
}

/// A thread that works inside a `run`.
#[derive(Debug)]
pub struct Forked<'scope, T> {
    thread: ScopedJoinHandle<'scope, T>,
}

impl<T> Forked<'_, T> {
    /// Waits for the thread's end; its result, which may be references to what it made.
    ///
    /// # Errors
    ///
    /// What the thread panicked with.
    pub fn join(self) -> thread::Result<T> {
        self.thread.join()
    }

    /// Whether the thread's function has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// A core on its way to its thread.
struct Sent(Core);

// SAFETY: nobody has used it yet but the thread that made it, which gives it away; its mutator is the new thread's from
// `adopt` on.
unsafe impl Send for Sent {}

impl Sent {
    fn adopt(self) -> Core {
        self.0.raw.adopt();
        self.0
    }
}

/// The end of a thread's function, by return or by panic.
struct Tell<'a> {
    core: &'a Core,
    short: &'a AtomicBool,
}

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        if self.core.has_shortage() {
            // Relaxed: the threads' end is between this and the load.
            self.short.store(true, Relaxed);
        }
    }
}

/// The end of a fork, by return or by panic: all threads have ended.
struct TakeOver<'a> {
    core: &'a Core,
    short: &'a AtomicBool,
}

impl Drop for TakeOver<'_> {
    fn drop(&mut self) {
        // Relaxed: as in `Tell`.
        if self.short.load(Relaxed) {
            self.core.take_over_shortage();
        }
    }
}

impl<'scope, 'env, 'gc> Fork<'scope, 'env, 'gc> {
    /// Calls `f` on a thread of its own, with a context of the same heap and the same lifetime.
    ///
    /// # Errors
    ///
    /// [`ForkError`]; `f` is dropped.
    pub fn spawn<T, F>(&self, f: F) -> Result<Forked<'scope, T>, ForkError>
    where
        F: FnOnce(&Cx<'gc, Shared>) -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: the thread drops it before it ends, and so does this one if there is no thread; `Cx::fork`, which does not
        // return or unwind before all threads of its scope have ended, is called inside the context's `run`.
        let core = Sent(unsafe { self.cx.core().fork() }.map_err(ForkError::Heap)?);
        let short = self.short.clone();
        let work = move || {
            let core = core.adopt();
            let _tell = Tell { core: &core, short: &short };
            // SAFETY: such a core, adopted by this thread. The context is lent for the call only.
            f(&unsafe { Cx::within(&core) })
        };
        let thread = Builder::new().spawn_scoped(self.threads, work).map_err(ForkError::Thread)?;
        Ok(Forked { thread })
    }
}

impl<'gc> Cx<'gc, Shared> {
    /// Calls `f` with what adds threads to this `run`. They allocate beside each other, are given and give back references, and have
    /// ended when this returns.
    ///
    /// As long as it lasts the heap is not collected, and another thread's boundary that wants it to be waits, as for a long `run`. Who
    /// holds the guard of a [`SharedLock`](crate::typed::SharedLock) and waits for a thread that wants it waits for ever.
    /// Threads' contexts are lent for their functions, `&Cx<'gc, Shared>`, and not for `'gc` as that of `run` is.
    /// An allocation that lacks memory is an error in its thread, and the boundary after this `run` collects for it.
    ///
    /// # Panics
    ///
    /// When `f` does, or a thread that was not [joined](Forked::join); all threads have ended then.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Cx, Gc, Shared, SharedHeap, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Tree<'gc>(Option<(Gc<'gc, Tree<'gc>>, Gc<'gc, Tree<'gc>>)>);
    ///
    /// fn tree<'gc>(cx: &Cx<'gc, Shared>, depth: u32) -> Gc<'gc, Tree<'gc>> {
    ///     Gc::new(cx, Tree((depth > 0).then(|| (tree(cx, depth - 1), tree(cx, depth - 1)))))
    /// }
    ///
    /// fn count(tree: &Tree<'_>) -> u64 {
    ///     1 + tree.0.map_or(0, |(left, right)| count(&left) + count(&right))
    /// }
    ///
    /// let heap = SharedHeap::new(Default::default())?;
    /// heap.attach()?.run(|cx| {
    ///     // Half of it here, and half of it there.
    ///     let whole = cx.fork(|fork| {
    ///         let right = fork.spawn(|cx| tree(cx, 10)).unwrap();
    ///         let left = tree(cx, 10);
    ///         Gc::new(cx, Tree(Some((left, right.join().unwrap()))))
    ///     });
    ///     assert_eq!(count(&whole), (1 << 12) - 1);
    /// });
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn fork<'env, R>(
        &'env self,
        f: impl for<'scope> FnOnce(&Fork<'scope, 'env, 'gc>) -> R,
    ) -> R {
        let short = Arc::new(AtomicBool::new(false));
        let _take_over = TakeOver { core: self.core(), short: &short };
        thread::scope(|threads| f(&Fork { threads, cx: self, short: short.clone() }))
    }
}
