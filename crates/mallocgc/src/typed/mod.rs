//! The safe interface: a heap without `unsafe`.
//!
//! References live inside [`run`](Mutator::run). What it calls gets a context with a lifetime of its own, `'gc`,
//! and every [`Gc<'gc, T>`](Gc) has that lifetime, so that none can be kept when the function returns. Between two
//! calls the thread holds no reference at all: that is a boundary, where the heap may be collected, and no
//! stack is ever looked at. What must outlive a call is named by a [`Root`], which is an ordinary value.
//!
//! What an object refers to is derived ([`Trace`](derive@crate::typed::Trace)): where all references of a type are words
//! at fixed places its objects are described by a bit mask and no code runs to mark them.
//!
//! | to store a reference in an object | |
//! |---|---|
//! | a field without a cell | set when the object is made, for ever |
//! | [`Slot`] | one reference; may be shared by threads |
//! | [`Lock`] | a `Copy` value |
//! | [`RefLock`] | anything, borrowed as in `RefCell` |
//! | [`OnceLock`] | set once, later |
//! | [`SharedLock`] | anything, locked as in `RwLock`, for threads |
//! | [`GcWeak`], in any of these | keeps nothing alive |
//!
//! Containers of the standard library may hold references, and so may those of the crates hashbrown, indexmap
//! and smallvec with the features of these names.
//!
//! A [`Heap`] belongs to its thread and takes objects of any type. A [`SharedHeap`] has a [`Mutator`] for each of its
//! threads and takes what is `Send` and `Sync`; [`Cx::fork`] lets more threads work inside one `run`.
//!
//! Handles outside of objects are [`Root`], which keeps its object, [`LocalRoot`], which does so until its [`Scope`] ends and is
//! cheaper, [`Weak`], which does not, and [`DynamicRoot`], which keeps it as long as
//! a [`DynamicRootSet`] lives. An [`Arena`] is a heap with one value from which all else is reached.
//!
//! # Examples
//!
//! ```
//! use mallocgc::typed::{Gc, Heap, RefLock, Root, Trace};
//!
//! #[derive(Trace)]
//! struct Node<'gc> {
//!     name: String,
//!     edges: RefLock<Vec<Gc<'gc, Node<'gc>>>>,
//! }
//!
//! let heap = Heap::new(Default::default())?;
//! let root: Root<Node<'static>> = heap.run(|cx| {
//!     let a = Gc::new(cx, Node { name: "a".into(), edges: RefLock::default() });
//!     let b = Gc::new(cx, Node { name: "b".into(), edges: RefLock::new(vec![a]) });
//!     a.edges.borrow_mut(cx).push(b); // a cycle
//!     cx.root(a)
//! });
//! heap.collect();
//! heap.run(|cx| assert_eq!(root.get(cx).edges.borrow()[0].name, "b"));
//! drop(root);
//! heap.collect(); // finds both dead, and drops their values
//! heap.collect(); // frees them
//! assert_eq!(heap.raw().stats().heap_objects, 0);
//! # Ok::<(), mallocgc::raw::HeapError>(())
//! ```
//!
//! # From other crates
//!
//! `docs/migrating` has a page each for programs with `Rc`, gc-arena, `gc` and `boa_gc`: what is called what.
//!
//! # Soundness
//!
//! `docs/design/soundness.md` has the argument and its conditions.

mod shape;
mod trace;
mod plan;
mod kinds;
mod core;
mod kind;
mod context;
mod gc;
mod cell;
mod shared_lock;
mod family;
mod header_slice;
mod handled;
mod gc_weak;
mod ephemeron;
mod unsize;
mod dyn_trace;
pub mod barrier;
mod dynamic_roots;
mod rootable;
mod implementations;
mod root;
mod weak;
mod finalizer;
mod heap;
mod scope;
mod fork;
mod arena;

pub use self::arena::{Arena, rootless_mutate};
pub use self::cell::{Lock, OnceLock, Ref, RefLock, RefMut, Reference, Slot};
pub use self::context::{Cx, Mutation};
pub use self::core::AllocError;
pub use self::dyn_trace::{DynTrace, dyn_trace};
pub use self::dynamic_roots::{DynamicRoot, DynamicRootSet};
pub use self::ephemeron::{Ephemeron, WeakMap};
pub use self::family::Family;
pub use self::fork::{Fork, ForkError, Forked};
pub use self::gc::Gc;
pub use self::gc_weak::GcWeak;
#[doc(hidden)]
pub use self::handled::Whole as __Whole;
pub use self::handled::{Handled, Unsized};
pub use self::header_slice::HeaderSlice;
pub use self::heap::{Heap, Mutator, SharedHeap};
pub use self::kind::{Accepts, Kind, Local, Shared};
pub use self::root::Root;
#[doc(hidden)]
pub use self::rootable::DynRootable as __DynRootable;
pub use self::rootable::Rootable;
pub use self::scope::{LocalRoot, Scope};
pub use self::shape::Shape;
pub use self::shared_lock::{SharedLock, SharedRef, SharedRefMut};
pub use self::trace::{Static, Trace};
#[doc(hidden)]
pub use self::unsize::Unsize as __Unsize;
pub use self::unsize::unsize;
pub use self::weak::Weak;
pub use crate::layout::Tracer;
pub use mallocgc_derive::Trace;
#[doc(hidden)]
pub use mallocgc_derive::name_lifetimes as __name_lifetimes;
