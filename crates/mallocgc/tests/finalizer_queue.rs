//! Finalizers that are due: the threads that run them, panics, a heap that ends,
//! callbacks that must not, memory that is refused.

#![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "tests on objects they made")]

mod support;

use mallocgc::raw::{Config, FinalizerError, Force, Heap, Mutator, Placement};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use support::specials::{LONG, Log, Nodes, entries, gc, log_value, manual, threaded, value};

// --- threads -----------------------------------------------------------------

#[test]
fn the_heaps_thread_runs_finalizers() {
    let heap = threaded();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let names: Arc<Mutex<Vec<String>>> = Arc::default();
    for number in 0..100 {
        let names = names.clone();
        m.set_finalizer(nodes.make(&m, number), move |_, _| {
            let name = std::thread::current().name().unwrap_or("").to_owned();
            names.lock().expect("no panic").push(name);
        })
        .expect("set");
    }
    gc(&m);
    assert!(m.wait_finalizers(LONG));
    let names = names.lock().expect("no panic");
    assert_eq!(names.len(), 100);
    assert!(names.iter().all(|name| name == "mallocgc-fin"), "{names:?}");
}

#[test]
fn finalizer_counters_are_exact() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    for number in 0..10 {
        m.set_finalizer(nodes.make(&m, number), |_, _| ()).expect("set");
    }
    let before = heap.special_counts();
    assert_eq!((before.finalizers_set, before.finalizers.queued), (10, 0));
    gc(&m);
    let queued = heap.special_counts().finalizers;
    assert_eq!((queued.queued, queued.executed, queued.pending), (10, 0, 10));
    m.run_finalizers(usize::MAX);
    let ran = heap.special_counts().finalizers;
    assert_eq!((ran.queued, ran.executed, ran.panicked, ran.pending), (10, 10, 0, 0));
}

#[test]
fn panics_are_contained_and_counted() {
    let heap = threaded();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    for number in 0..20 {
        let good = log_value(&log);
        m.set_finalizer(nodes.make(&m, number), move |m, object| {
            if number % 4 == 0 {
                std::panic::resume_unwind(Box::new("quietly"));
            }
            good(m, object);
        })
        .expect("set");
    }
    gc(&m);
    assert!(m.wait_finalizers(LONG));
    let counts = heap.special_counts().finalizers;
    assert_eq!((counts.executed, counts.panicked), (20, 5));
    assert_eq!(entries(&log).len(), 15);
    m.set_finalizer(nodes.make(&m, 1000), log_value(&log)).expect("set");
    gc(&m);
    assert!(m.wait_finalizers(LONG), "the thread goes on");
    assert_eq!(entries(&log).last(), Some(&1000));
}

#[test]
fn many_threads_register_and_every_finalizer_runs_once() {
    const THREADS: usize = 4;
    // In zeal mode a cycle runs at every third boundary.
    let each = if support::zeal() { 300 } else { 5000 };
    let heap = threaded();
    let seen: Arc<Vec<AtomicUsize>> =
        Arc::new((0..THREADS * each).map(|_| AtomicUsize::new(0)).collect());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (heap, seen) = (heap.clone(), seen.clone());
            scope.spawn(move || {
                let m = heap.attach().expect("a mutator");
                let nodes = Nodes::new(&heap);
                for number in 0..each {
                    let node = nodes.make(&m, (thread * each + number) as u64);
                    let seen = seen.clone();
                    m.set_finalizer(node, move |_, node| {
                        seen[value(node) as usize].fetch_add(1, SeqCst);
                    })
                    .expect("set");
                    m.poll();
                    if number % 1000 == 299 {
                        m.gc(Force::Now).expect("a collection");
                    }
                }
            });
        }
    });
    let mut m = heap.attach().expect("a mutator");
    gc(&m);
    assert!(m.wait_finalizers(LONG));
    for (number, times) in seen.iter().enumerate() {
        assert_eq!(times.load(SeqCst), 1, "object {number}");
    }
}

#[test]
fn the_last_handle_may_go_on_the_finalizer_thread() {
    let (sender, receiver) = mpsc::channel();
    {
        let heap = threaded();
        let m = heap.attach().expect("a mutator");
        let nodes = Nodes::new(&heap);
        let last = heap.clone();
        let (go, wait) = mpsc::channel::<()>();
        m.set_finalizer(nodes.make(&m, 1), move |_, _| {
            // The test's own handles are gone when this returns.
            wait.recv().expect_err("the sender is dropped last");
            drop(last);
            sender.send(()).expect("a receiver");
        })
        .expect("set");
        gc(&m);
        drop(m);
        drop(heap);
        drop(go);
    }
    receiver.recv_timeout(LONG).expect("the finalizer ran");
}

#[test]
fn a_heap_that_ends_runs_nothing_and_drops_every_closure() {
    let held = Arc::new(());
    {
        let heap = manual();
        let m = heap.attach().expect("a mutator");
        let nodes = Nodes::new(&heap);
        for number in 0..50 {
            let held = held.clone();
            m.set_finalizer(nodes.make(&m, number), move |_, _| panic!("{held:?} at exit"))
                .expect("set");
        }
        gc(&m);
        for number in 0..50 {
            let (held, large) = (held.clone(), [number; 8]);
            m.set_finalizer(nodes.make(&m, number), move |_, _| {
                panic!("{held:?} {large:?} at exit")
            })
            .expect("set");
        }
        assert_eq!(Arc::strong_count(&held), 101);
    }
    assert_eq!(Arc::strong_count(&held), 1);
}

// --- re-entrancy -------------------------------------------------------------

#[test]
fn inside_callbacks_everything_answers_with_an_error() {
    static MUTATOR: AtomicPtr<Mutator> = AtomicPtr::new(std::ptr::null_mut());
    static OBJECT: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = Nodes::new(&heap).make(&m, 1);
    m.push_root(object);
    MUTATOR.store(&raw mut m, SeqCst);
    OBJECT.store(object.as_ptr(), SeqCst);
    heap.add_root_callback(|_| {
        // The collection runs on the test's thread, which owns the mutator.
        let m = unsafe { &*MUTATOR.load(SeqCst) };
        let object = NonNull::new(OBJECT.load(SeqCst)).expect("set before");
        assert_eq!(m.set_finalizer(object, |_, _| ()), Err(FinalizerError::Reentrant));
        assert_eq!(m.clear_finalizer(object), Err(FinalizerError::Reentrant));
        assert!(matches!(
            m.add_cleanup(object.as_ptr(), |_| ()),
            Err(mallocgc::raw::CleanupError::Reentrant)
        ));
        assert!(matches!(m.weak(object), Err(mallocgc::raw::WeakError::Reentrant)));
        assert!(!m.heap().wait_finalizers(LONG));
        assert_eq!(m.heap().special_counts().finalizers_set, 0);
        CALLS.fetch_add(1, SeqCst);
    });
    let m = unsafe { &*MUTATOR.load(SeqCst) };
    gc(m);
    assert!(CALLS.load(SeqCst) > 0);
    assert_eq!(m.set_finalizer(object, |_, _| ()), Ok(Placement::Own));
}

#[test]
fn finalizers_work_when_every_allocation_may_collect() {
    let config = Config { collect_every: 1, clobber: 0xdead_dead, ..support::config() };
    let heap = Heap::new(config).expect("a heap");
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    for number in 0..200 {
        let node = nodes.make(&m, number);
        m.push_root(node);
        m.poll();
        m.set_finalizer(node, log_value(&log)).expect("set");
        m.truncate_roots(0);
        m.poll();
    }
    gc(&m);
    assert!(m.wait_finalizers(LONG));
    let mut seen = entries(&log);
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_function_with_a_word_of_data_runs() {
    static SUM: AtomicUsize = AtomicUsize::new(0);
    unsafe fn add(_m: &mut Mutator, object: NonNull<u8>, data: usize) {
        SUM.fetch_add(value(object) as usize * data, SeqCst);
    }
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    for number in 1..=3 {
        unsafe { m.set_finalizer_fn(nodes.make(&m, number), add, 10) }.expect("set");
    }
    gc(&m);
    m.run_finalizers(usize::MAX);
    assert_eq!(SUM.load(SeqCst), 60);
}

/// Every system call of the first registrations fails in turn: each failure is
/// an error value, nothing is registered by halves, and the next try succeeds.
#[test]
fn without_memory_or_thread_registrations_fail_as_values() {
    use mallocgc::os::fault;
    use mallocgc::raw::{CleanupError, WeakError};
    let mut refused = 0;
    for n in 1.. {
        let heap = threaded();
        let mut m = heap.attach().expect("a mutator");
        let nodes = Nodes::new(&heap);
        let (a, b, c) = (nodes.make(&m, 1), nodes.make(&m, 2), nodes.make(&m, 3));
        let ran = Arc::new(AtomicUsize::new(0));
        let count = |ran: &Arc<AtomicUsize>| {
            let ran = ran.clone();
            move || {
                ran.fetch_add(1, SeqCst);
            }
        };
        let (first, second) = (count(&ran), count(&ran));
        let guard = fault::fail_nth(n);
        let finalizer = m.set_finalizer(a, move |_, _| first());
        let cleanup = m.add_cleanup(b.as_ptr(), move |_| second());
        let weak = m.weak(c);
        let failed = guard.failed();
        drop(guard);
        let errors = [finalizer.is_err(), cleanup.is_err(), weak.is_err()];
        let count_errors = errors.iter().filter(|&&error| error).count() as u64;
        assert!(count_errors <= failed, "call {n}");
        if let Err(error) = finalizer {
            use FinalizerError::{NoThread, OutOfMemory};
            assert!(matches!(error, OutOfMemory(_) | NoThread(_)), "{error}");
            let again = count(&ran);
            m.set_finalizer(a, move |_, _| again()).expect("the next try");
        }
        if let Err(error) = cleanup {
            use CleanupError::{NoThread, OutOfMemory};
            assert!(matches!(error, OutOfMemory(_) | NoThread(_)), "{error}");
            let again = count(&ran);
            m.add_cleanup(b.as_ptr(), move |_| again()).expect("the next try");
        }
        let (weak, _) = weak.unwrap_or_else(|error| {
            assert!(matches!(error, WeakError::OutOfMemory(_)), "{error}");
            m.weak(c).expect("the next try")
        });
        refused += count_errors;
        gc(&m);
        assert!(m.wait_finalizers(LONG) && m.wait_cleanups(LONG));
        assert_eq!((ran.load(SeqCst), weak.get(&m)), (2, None), "call {n}");
        if failed == 0 {
            break;
        }
    }
    assert!(refused >= 3, "two threads and the memory of records: {refused}");
}
