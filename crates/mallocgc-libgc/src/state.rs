//! What the library keeps of the process: heap, threads, roots, tables.
//!
//! Protection: `State` is behind the one lock (`lock`); `heap()` is written
//! once, before `IS_READY`.

use crate::disclaim::Disclaimed;
use crate::finalize::{Finalizer, Link, Queued, Toggle};
use crate::kinds::Kind;
use crate::pthread::Start;
use crate::roots::Segment;
use crate::table::{Array, Map};
use crate::threads::Thread;
use core::cell::UnsafeCell;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Acquire;
use mallocgc::raw::{Heap, Layout};
use std::sync::OnceLock;

/// Everything is set up.
pub static IS_READY: AtomicBool = AtomicBool::new(false);
static HEAP: OnceLock<Heap> = OnceLock::new();

/// What is behind the lock.
pub struct State {
    pub threads: *mut Thread,
    pub free_threads: *mut Thread,

    /// Ranges the program gave; ranges it took out; data of loaded objects.
    pub added: Array<Segment>,
    pub excluded: Array<(usize, usize)>,
    pub loaded: Array<Segment>,
    /// Segments that were loaded when they were first asked for, and that this was done.
    pub early: Array<(usize, usize)>,
    pub early_known: bool,
    pub tls: Array<(usize, usize)>,
    /// The loader's counts when `loaded` was read.
    pub loads: (u64, u64),
    pub roots_cleared: bool,

    /// Threads of the wrapper that somebody will join.
    pub joinable: Map<*mut Start>,
    pub uncollectable: Map<()>,
    pub finalizers: Map<Finalizer>,
    pub queue: Array<Queued>,
    /// Entries of `queue` already taken.
    pub queue_taken: usize,
    pub short_links: Map<Link>,
    pub long_links: Map<Link>,
    pub toggles: Array<Toggle>,
    /// Objects with a reclaim hook, in the order of allocation.
    pub disclaimed: Array<Disclaimed>,
    pub disclaim_queue: Array<Disclaimed>,
    /// The objects of `disclaimed`, once the program has freed any object.
    pub disclaim_index: Map<()>,
    pub disclaim_indexed: bool,
    /// Freed and still in `disclaimed`: how often.
    pub disclaim_freed: Map<usize>,
    pub debug_objects: Map<()>,
    pub leaks: Array<usize>,
    pub smashed: Array<usize>,

    pub kinds: Array<Kind>,
    pub kind_layouts: Array<Layout>,
    pub procs: Array<usize>,
    pub typed: Map<Layout>,
    pub big_masks: Array<Layout>,

    /// The cycle whose finalizers were announced.
    pub announced: usize,
    pub bytes_before: u64,
    pub max_heap_bytes: usize,
    pub last_heap_bytes: usize,
    pub full_gc_nanos: u64,
    pub measure: bool,
}

struct Place(UnsafeCell<State>);

// SAFETY: reached under the lock only.
unsafe impl Sync for Place {}

static STATE: Place = Place(UnsafeCell::new(State {
    threads: core::ptr::null_mut(),
    free_threads: core::ptr::null_mut(),
    added: Array::new(),
    excluded: Array::new(),
    loaded: Array::new(),
    early: Array::new(),
    early_known: false,
    tls: Array::new(),
    loads: (0, 0),
    roots_cleared: false,
    joinable: Map::new(),
    uncollectable: Map::new(),
    finalizers: Map::new(),
    queue: Array::new(),
    queue_taken: 0,
    short_links: Map::new(),
    long_links: Map::new(),
    toggles: Array::new(),
    disclaimed: Array::new(),
    disclaim_queue: Array::new(),
    disclaim_index: Map::new(),
    disclaim_indexed: false,
    disclaim_freed: Map::new(),
    debug_objects: Map::new(),
    leaks: Array::new(),
    smashed: Array::new(),
    kinds: Array::new(),
    kind_layouts: Array::new(),
    procs: Array::new(),
    typed: Map::new(),
    big_masks: Array::new(),
    announced: 0,
    bytes_before: 0,
    max_heap_bytes: 0,
    last_heap_bytes: 0,
    full_gc_nanos: 0,
    measure: false,
}));

/// What is behind the lock.
///
/// # Safety
///
/// The calling thread has the lock, and keeps no other reference to a field it
/// uses through this one.
pub unsafe fn state() -> &'static mut State {
    debug_assert!(crate::lock::is_mine());
    &mut *STATE.0.get()
}

/// The heap. Only once `init` has made it.
#[inline(always)]
pub fn heap() -> &'static Heap {
    HEAP.get().expect("the heap is made before it is used")
}

pub fn set_heap(heap: Heap) {
    assert!(HEAP.set(heap).is_ok(), "one heap");
}

#[inline(always)]
pub fn is_ready() -> bool {
    // Acquire: pairs with the Release at the end of `init`.
    IS_READY.load(Acquire)
}
