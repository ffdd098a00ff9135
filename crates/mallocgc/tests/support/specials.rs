//! What the tests of finalizers, cleanups and weak handles share.
//!
//! As in `memory`, functions that touch objects are not marked unsafe: a test
//! passes only objects that are alive, of the kind the function names.

use super::memory::Object;
use mallocgc::base::Address;
use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout, Mutator, TypeLayout};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than anything takes that comes at all.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A heap whose finalizers and cleanups run when the test says so; dead cells
/// are overwritten.
pub(crate) fn manual() -> Heap {
    let config = Config { background: false, clobber: super::CLOBBER, ..super::manual() };
    super::heap_with(config)
}

/// A heap whose threads run finalizers and cleanups.
pub(crate) fn threaded() -> Heap {
    super::heap_with(super::config())
}

/// An object without references.
pub(crate) fn make(m: &Mutator, size: usize) -> Object {
    m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).expect("memory")
}

/// Makes objects of two references and two numbers.
pub(crate) struct Nodes {
    layout: Layout,
}

impl Nodes {
    pub(crate) fn new(heap: &Heap) -> Nodes {
        Nodes { layout: heap.layout(&TypeLayout::mask(4, 0b0011)).expect("a layout") }
    }

    /// A node with this value.
    pub(crate) fn make(&self, m: &Mutator, value: u64) -> Object {
        let node = m.mallocgc(32, self.layout, AllocFlags::NONE).expect("memory");
        // SAFETY: the node has four words.
        unsafe { node.cast::<u64>().add(2).write(value) };
        node
    }
}

/// Stores a reference.
pub(crate) fn refer(m: &Mutator, from: Object, slot: usize, to: Object) {
    super::memory::link(m, from, slot, to);
}

/// A node's value.
pub(crate) fn value(node: Object) -> u64 {
    // SAFETY: the module's rule; a node has four words.
    unsafe { node.cast::<u64>().add(2).read() }
}

/// What a reference leads to.
pub(crate) fn referent(node: Object, slot: usize) -> Object {
    // SAFETY: the module's rule.
    NonNull::new(unsafe { node.cast::<*mut u8>().add(slot).read() }).expect("a reference")
}

/// Collects and sweeps.
pub(crate) fn gc(m: &Mutator) {
    m.gc(Force::NowAndSweep).expect("a collection");
}

/// Whether the address is still an object's.
pub(crate) fn is_allocated(heap: &Heap, object: Object) -> bool {
    heap.find_object(Address::from_ptr(object.as_ptr())).is_some()
}

/// Values in the order in which functions saw them.
pub(crate) type Log = Arc<Mutex<Vec<u64>>>;

/// A finalizer that enters its node's value.
pub(crate) fn log_value(log: &Log) -> impl FnOnce(&mut Mutator, Object) + Send + 'static + use<> {
    let log = log.clone();
    move |_, node| log.lock().expect("no panic").push(value(node))
}

/// The values so far.
pub(crate) fn entries(log: &Log) -> Vec<u64> {
    log.lock().expect("no panic").clone()
}

/// How often something ran.
pub(crate) type Count = Arc<AtomicUsize>;

/// A cleanup that counts.
pub(crate) fn counting(count: &Count) -> impl FnOnce(&mut Mutator) + Send + 'static + use<> {
    let count = count.clone();
    move |_| {
        count.fetch_add(1, SeqCst);
    }
}
