//! Entering the heap from its own callbacks: an error, never a hang.

use crate::support::{self, find};
use mallocgc::layout::{Tracer, TypeLayout};
use mallocgc::raw::{
    AllocError, AllocFlags, Config, Force, GcError, Heap, HeapError, Layout, RootVisitor,
};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

/// Runs a test on a thread of its own and fails when it hangs.
fn must_end(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        // The receiver waits below.
        done.send(()).unwrap();
    });
    match ended.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the heap hangs"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// Everything of a heap that may wait, from inside a callback.
fn enter_heap(heap: &Heap) {
    assert!(matches!(heap.attach(), Err(HeapError::Reentrant)));
    for force in [Force::IfNeeded, Force::Now, Force::NowAndSweep] {
        assert!(matches!(heap.gc(force), Err(GcError::Reentrant)));
    }
    // These do not wait for the world.
    assert!(heap.find_object(mallocgc::base::Address::new(64)).is_none());
    assert_eq!(heap.zero_base(), heap.zero_base());
}

thread_local! {
    /// The heap and mutator of the thread that collects, for its trace function.
    static COLLECTING: Cell<*const (Heap, mallocgc::raw::Mutator)> =
        const { Cell::new(std::ptr::null()) };
}

static TRACED: AtomicUsize = AtomicUsize::new(0);

/// A trace function that does what it must not do.
unsafe fn trace_and_allocate(_object: *mut u8, _size: usize, _tracer: &mut Tracer<'_>) {
    // SAFETY: the test keeps the pair alive while it collects, on this thread.
    let Some((heap, mutator)) = (unsafe { COLLECTING.get().as_ref() }) else { return };
    TRACED.fetch_add(1, Relaxed);
    // Every class, until its open chunk is used up; a cell at hand may be given.
    for size in [1, 16, 100, 5000, 100_000] {
        let refused = (0..100_000)
            .map(|_| mutator.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE))
            .find_map(Result::err);
        assert_eq!(refused, Some(AllocError::Reentrant), "{size} bytes");
    }
    let made = mutator.mallocgc(16, Layout::NOSCAN, AllocFlags::SAFEPOINT);
    assert_eq!(made, Err(AllocError::Reentrant));
    assert!(matches!(mutator.gc(Force::Now), Err(GcError::Reentrant)));
    mutator.poll();
    enter_heap(heap);
}

#[test]
fn a_trace_function_cannot_enter_the_heap() {
    must_end(|| {
        let heap = support::heap_with(Config { workers: 1, ..support::manual() });
        let layout = heap.layout(&TypeLayout::trace(16, trace_and_allocate)).unwrap();
        let pair = (heap.clone(), heap.attach().unwrap());
        let object = pair.1.new_object(layout).unwrap();
        pair.1.push_root(object);
        COLLECTING.set(&raw const pair);
        pair.1.gc(Force::NowAndSweep).unwrap();
        COLLECTING.set(std::ptr::null());
        assert!(TRACED.load(Relaxed) > 0);
        assert!(find(&heap, object).is_some());
        pair.1.mallocgc(100, Layout::NOSCAN, AllocFlags::SAFEPOINT).unwrap();
        pair.1.gc(Force::Now).unwrap();
    });
}

#[test]
fn a_root_callback_cannot_enter_the_heap() {
    must_end(|| {
        let heap = support::heap();
        let other = support::heap();
        let m = heap.attach().unwrap();
        let kept = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        let address = kept.as_ptr().expose_provenance();
        let calls = std::sync::Arc::new(AtomicUsize::new(0));
        let visit = {
            let (heap, other, calls) = (heap.clone(), other.clone(), calls.clone());
            move |visitor: &mut RootVisitor<'_>| {
                calls.fetch_add(1, Relaxed);
                visitor.visit(std::ptr::with_exposed_provenance(address));
                enter_heap(&heap);
                // Other heaps too: their collector may be waiting for this one.
                enter_heap(&other);
            }
        };
        m.set_root_callback(Some(visit.clone()));
        m.gc(Force::Now).unwrap();
        assert!(calls.swap(0, Relaxed) > 0);
        assert!(find(&heap, kept).is_some());
        m.set_root_callback(None::<fn(&mut RootVisitor<'_>)>);
        let id = heap.add_root_callback(visit);
        m.gc(Force::NowAndSweep).unwrap();
        assert!(calls.swap(0, Relaxed) > 0);
        assert!(find(&heap, kept).is_some());
        assert!(heap.remove_root_callback(id));
        assert!(!heap.remove_root_callback(id));
        m.gc(Force::Now).unwrap();
        assert_eq!(calls.load(Relaxed), 0);
        assert_eq!(find(&heap, kept), None);
    });
}

#[test]
fn handles_may_be_made_and_dropped_in_a_callback() {
    must_end(|| {
        let heap = support::heap();
        let m = heap.attach().unwrap();
        let kept = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        let root = std::sync::Mutex::new(Some(heap.root(kept).unwrap()));
        let id = heap.add_root_callback(move |_| drop(root.lock().unwrap().take()));
        m.gc(Force::Now).unwrap();
        m.gc(Force::Now).unwrap();
        assert_eq!(find(&heap, kept), None);
        heap.remove_root_callback(id);
    });
}

#[test]
fn statistics_may_be_read_in_a_callback() {
    must_end(|| {
        let heap = support::heap();
        let m = heap.attach().unwrap();
        let inner = heap.clone();
        heap.add_root_callback(move |_| {
            inner.stats();
            inner.pause_histogram();
        });
        m.gc(Force::Now).unwrap();
    });
}

#[test]
fn a_callback_may_allocate_again_after_it_was_refused() {
    must_end(|| {
        let heap = support::heap();
        let m = heap.attach().unwrap();
        for _ in 0..10 {
            let inner = heap.clone();
            let id = heap.add_root_callback(move |_| {
                assert!(inner.attach().is_err());
            });
            m.gc(Force::Now).unwrap();
            heap.remove_root_callback(id);
            m.mallocgc(100, Layout::NOSCAN, AllocFlags::SAFEPOINT).unwrap();
            assert!(heap.attach().is_err(), "attached already");
        }
    });
}
