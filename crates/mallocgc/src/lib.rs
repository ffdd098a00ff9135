//! Go's garbage-collected heap as a library.
//!
//! A [`Heap`](raw::Heap) is a value with its own memory, settings and statistics. A thread
//! that attaches gets a [`Mutator`](raw::Mutator) and allocates through it. Objects
//! have no header: where their references are says a [`TypeLayout`](layout::TypeLayout), and
//! objects of one size class and layout share spans.
//!
//! Nothing is collected but at *boundaries*: [`poll`](raw::Mutator::poll),
//! [`gc`](raw::Mutator::gc), [`blocking`](raw::Mutator::blocking), running finalizers, and
//! allocations that ask for it ([`SAFEPOINT`](raw::AllocFlags::SAFEPOINT)). What a thread still
//! needs behind a boundary must be reachable from a root before it: the mutator's
//! root stack, a [`Root`](raw::Root) handle, a registered range, a callback. Stacks and registers
//! are not scanned.
//!
//! # Examples
//!
//! A list is built, survives a collection, loses its root, and is gone.
//!
//! ```
//! use mallocgc::raw::{Config, Force, Heap, TypeLayout};
//!
//! let heap = Heap::new(Config::default())?;
//! let mutator = heap.attach()?;
//! // struct Node { next: *mut Node, value: u64 }
//! let node = heap.layout(&TypeLayout::mask(2, 0b01))?;
//!
//! let mut list = std::ptr::null_mut();
//! for value in 0..100_u64 {
//!     let place = mutator.new_object(node)?;
//!     // SAFETY: a node has two words, the first a reference; there was no boundary.
//!     unsafe {
//!         place.cast::<u64>().add(1).write(value);
//!         mutator.write(place.cast().as_ptr(), list);
//!     }
//!     list = place.as_ptr();
//! }
//!
//! let root = heap.root(std::ptr::NonNull::new(list).unwrap())?;
//! mutator.gc(Force::NowAndSweep)?;
//! assert_eq!(heap.stats().heap_objects, 100);
//! drop(root);
//! mutator.gc(Force::NowAndSweep)?;
//! assert_eq!(heap.stats().heap_objects, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where things are
//!
//! The folders are layers; a module uses only those named above it. Users need [`raw`], and
//! [`layout`] and [`observe`] for what `raw` takes and returns. The other layers are public for
//! those who build other interfaces; `docs/ARCHITECTURE.md` in the repository explains them.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("mallocgc needs 64-bit addresses: grey objects and page tables count on them");

pub mod base;
pub mod layout;
pub mod os;
pub mod heap;
pub mod world;
pub mod collect;
pub mod observe;
pub mod raw;
pub mod typed;

/// Keeps the example of the README compiling and right.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The same for the pages that tell how to come here from other crates.
#[cfg(doctest)]
mod migrating {
    #[doc = include_str!("../../../docs/migrating/gc-arena.md")]
    struct GcArena;
    #[doc = include_str!("../../../docs/migrating/rc.md")]
    struct Rc;
    #[doc = include_str!("../../../docs/migrating/gc-and-boa.md")]
    struct GcAndBoa;
}
