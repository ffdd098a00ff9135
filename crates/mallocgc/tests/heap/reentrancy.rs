//! Entering the heap from its own callbacks: an error, never a hang.

use crate::support::{self, find, memory::Object};
use mallocgc::layout::{Tracer, TypeLayout};
use mallocgc::raw::{
    AllocError, AllocFlags, Config, Force, GcError, Heap, HeapError, Layout, Mutator, RootVisitor,
};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, mpsc};
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
    assert_eq!(heap.release_memory(), 0);
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
    // Which would drop the callback that may be running.
    let replaced = mutator.set_root_callback(None::<fn(&mut RootVisitor<'_>)>);
    assert_eq!(replaced, Err(HeapError::Reentrant));
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
        m.set_root_callback(Some(visit.clone())).unwrap();
        m.gc(Force::Now).unwrap();
        assert!(calls.swap(0, Relaxed) > 0);
        assert!(find(&heap, kept).is_some());
        m.set_root_callback(None::<fn(&mut RootVisitor<'_>)>).unwrap();
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

thread_local! {
    /// A mutator that the next root callback drops.
    static DROPPED: RefCell<Option<Mutator>> = const { RefCell::new(None) };
}

/// Drops a mutator inside a callback, of another heap's cycle.
fn drop_inside_a_callback(mutator: Mutator) {
    let other = support::heap();
    let collecting = other.attach().unwrap();
    other.add_root_callback(|_| drop(DROPPED.take()));
    DROPPED.set(Some(mutator));
    collecting.gc(Force::Now).unwrap();
    assert!(DROPPED.take().is_none());
}

/// A mutator with an object in its roots, and a root callback that counts its
/// calls.
fn mutator_with_roots(heap: &Heap) -> (Mutator, Object, Arc<AtomicUsize>) {
    let m = heap.attach().unwrap();
    let object = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    m.push_root(object);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    m.set_root_callback(Some(move |_: &mut RootVisitor<'_>| {
        counted.fetch_add(1, Relaxed);
    }))
    .unwrap();
    (m, object, calls)
}

#[test]
fn a_thread_may_attach_again_after_its_mutator_was_dropped_in_a_callback() {
    must_end(|| {
        let heap = support::heap();
        let (m, object, calls) = mutator_with_roots(&heap);
        drop_inside_a_callback(m);
        assert_eq!(heap.stats().mutators, 1, "until somebody can detach it");
        let m = heap.attach().unwrap();
        assert_eq!(heap.stats().mutators, 1, "the new one");
        assert_eq!(Arc::strong_count(&calls), 1, "its callback is dropped");
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!((find(&heap, object), calls.load(Relaxed)), (None, 0));
        heap.stats().check().unwrap();
        assert!(m.verify().unwrap().is_none());
    });
}

#[test]
fn a_boundary_detaches_a_mutator_dropped_in_a_callback() {
    must_end(|| {
        let heap = support::heap();
        let (dropped, polled) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut other = heap.attach().unwrap();
                other.blocking(|| {
                    dropped.wait();
                });
                other.poll();
                polled.wait();
                other.blocking(|| {
                    polled.wait();
                });
            });
            let (m, _, calls) = mutator_with_roots(&heap);
            drop_inside_a_callback(m);
            dropped.wait();
            polled.wait();
            assert_eq!((heap.stats().mutators, Arc::strong_count(&calls)), (1, 1));
            polled.wait();
        });
    });
}

#[test]
fn a_cycle_detaches_a_mutator_dropped_in_a_callback() {
    must_end(|| {
        let heap = support::heap();
        let (m, object, calls) = mutator_with_roots(&heap);
        drop_inside_a_callback(m);
        heap.gc(Force::NowAndSweep).unwrap();
        assert_eq!((heap.stats().mutators, Arc::strong_count(&calls)), (0, 1));
        assert_eq!((find(&heap, object), calls.load(Relaxed)), (None, 0), "it had no roots");
        for _ in 0..100 {
            drop_inside_a_callback(heap.attach().unwrap());
        }
        heap.gc(Force::Now).unwrap();
        assert_eq!(heap.stats().mutators, 0);
    });
}

#[test]
fn mutators_dropped_in_callbacks_while_their_heap_collects() {
    must_end(|| {
        let heap = support::heap();
        std::thread::scope(|scope| {
            let droppers = [0, 1].map(|_| {
                scope.spawn(|| {
                    for _ in 0..support::scaled(100) {
                        let (m, _, _) = mutator_with_roots(&heap);
                        drop_inside_a_callback(m);
                    }
                })
            });
            let m = heap.attach().unwrap();
            while !droppers.iter().all(|dropper| dropper.is_finished()) {
                m.gc(Force::Now).unwrap();
            }
        });
        assert!(heap.attach().is_ok());
        assert_eq!(heap.stats().mutators, 0);
    });
}
