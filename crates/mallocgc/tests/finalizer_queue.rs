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

// --- what a finalizer may do to its mutator -------------------------------------

/// Calls `act` in a finalizer of each of `count` nodes and in a cleanup of each
/// of as many; what the finalizers saw. On the heap's threads, then by the owner.
fn in_each(count: u64, act: fn(&mut Mutator, u64)) {
    for heap in [threaded(), manual()] {
        let mut m = heap.attach().expect("a mutator");
        let nodes = Nodes::new(&heap);
        let (seen, cleaned) = (Log::default(), Log::default());
        let kept = nodes.make(&m, 4711);
        m.push_root(kept);
        for number in 0..count {
            let (log, node) = (log_value(&seen), nodes.make(&m, number));
            m.set_finalizer(node, move |m, node| {
                log(m, node);
                act(m, number);
            })
            .expect("set");
            let log = cleaned.clone();
            m.add_cleanup(nodes.make(&m, number).as_ptr(), move |m| {
                log.lock().expect("no panic").push(number);
                act(m, number);
            })
            .expect("added");
        }
        gc(&m);
        m.run_finalizers(usize::MAX);
        m.run_cleanups(usize::MAX);
        assert!(m.wait_finalizers(LONG) && m.wait_cleanups(LONG), "the queues are empty");
        for log in [seen, cleaned] {
            let mut values = entries(&log);
            values.sort_unstable();
            assert_eq!(values, (0..count).collect::<Vec<_>>(), "each ran once, on its own");
        }
        assert_eq!((m.root_count(), m.root(0)), (1, kept), "the owner's roots are as they were");
        assert_eq!(value(kept), 4711);
        let counts = heap.special_counts();
        assert_eq!((counts.finalizers.executed, counts.cleanups.executed), (count, count));
        assert_eq!(m.verify().expect("a stopped world"), None);
    }
}

#[test]
fn the_root_stack_is_the_calls_own() {
    in_each(70, |m, number| {
        assert_eq!(m.root_count(), 0, "it looks empty");
        m.truncate_roots(0);
        let mine = Nodes::new(m.heap()).make(m, number + 1000);
        for place in 0..5 {
            assert_eq!(m.push_root(mine), place);
        }
        m.set_root(0, mine);
        gc(m);
        assert_eq!(value(m.root(0)), number + 1000);
        m.truncate_roots(number as usize % 5);
    });
}

#[test]
fn a_stack_cut_below_its_base_is_a_panic_of_the_call_only() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    let kept = nodes.make(&m, 7);
    m.push_root(kept);
    for number in 0..3 {
        let log = log_value(&log);
        m.set_finalizer(nodes.make(&m, number), move |m, node| {
            log(m, node);
            m.push_root(node);
            m.truncate_roots(if number == 1 { 2 } else { 1 });
        })
        .expect("set");
    }
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 3);
    assert_eq!(heap.special_counts().finalizers.panicked, 1);
    assert_eq!((m.root_count(), m.root(0), entries(&log).len()), (1, kept, 3));
}

#[test]
fn panics_and_collections_take_no_object_from_another() {
    in_each(70, |m, number| {
        let nodes = Nodes::new(m.heap());
        for filler in 0..50 {
            nodes.make(m, filler);
        }
        m.push_root(nodes.make(m, number));
        gc(m);
        if number % 3 == 0 {
            std::panic::resume_unwind(Box::new("quietly"));
        }
    });
}

#[test]
fn inside_nothing_is_waited_for_or_run() {
    in_each(40, |m, _| {
        use std::time::Duration;
        let heap = m.heap().clone();
        assert!(!m.wait_finalizers(Duration::MAX) && !m.wait_cleanups(Duration::MAX));
        assert!(!heap.wait_finalizers(Duration::MAX) && !heap.wait_cleanups(Duration::MAX));
        assert_eq!((m.run_finalizers(usize::MAX), m.run_cleanups(usize::MAX)), (0, 0));
    });
    assert!(manual().wait_finalizers(LONG), "outside it is as before");
}

#[test]
fn a_wait_without_a_limit_ends_with_the_last_call() {
    let heap = threaded();
    let mut m = heap.attach().expect("a mutator");
    let (go, wait) = mpsc::channel::<()>();
    let (began, begins) = mpsc::channel();
    m.set_finalizer(Nodes::new(&heap).make(&m, 1), move |_, _| {
        began.send(()).expect("a receiver");
        wait.recv().expect_err("the sender is dropped");
    })
    .expect("set");
    gc(&m);
    begins.recv_timeout(LONG).expect("it runs");
    assert!(!m.wait_finalizers(std::time::Duration::ZERO));
    let waiter = {
        let heap = heap.clone();
        std::thread::spawn(move || heap.wait_finalizers(std::time::Duration::MAX))
    };
    drop(go);
    assert!(waiter.join().expect("no panic"));
}

type Finalizer = Box<dyn FnOnce(&mut Mutator, NonNull<u8>) + Send>;

/// A finalizer that registers again, for as long as `left` says.
fn again(left: u64, log: Log) -> Finalizer {
    Box::new(move |m, node| {
        log.lock().expect("no panic").push(left);
        if left != 0 {
            m.truncate_roots(0);
            m.set_finalizer(node, again(left - 1, log)).expect("set in a finalizer");
            std::panic::resume_unwind(Box::new("after it has registered"));
        }
    })
}

#[test]
fn a_finalizer_that_registers_again_and_panics_runs_again() {
    let heap = threaded();
    let mut m = heap.attach().expect("a mutator");
    let log = Log::default();
    m.set_finalizer(Nodes::new(&heap).make(&m, 1), again(3, log.clone())).expect("set");
    for runs in 1..=4 {
        gc(&m);
        assert!(m.wait_finalizers(LONG));
        if !support::zeal() {
            assert_eq!(entries(&log).len(), runs);
        }
    }
    assert_eq!(entries(&log), [3, 2, 1, 0]);
    assert_eq!(heap.special_counts().finalizers.panicked, 3);
}

/// What becomes of the mutator that a finalizer has exchanged.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Exchange {
    /// It is dropped with the call.
    Dropped,
    /// As that, and the call panics.
    Panicked,
    /// It stays in a thread-local.
    Kept,
    /// It is put back.
    PutBack,
}

thread_local! {
    static KEPT: std::cell::RefCell<Option<Mutator>> = const { std::cell::RefCell::new(None) };
}

fn exchange(how: Exchange, other: &Heap, m: &mut Mutator) {
    let mut mine = other.attach().expect("a mutator of the other heap");
    mine.push_root(Nodes::new(other).make(&mine, 1));
    m.push_root(Nodes::new(m.heap()).make(m, 2));
    std::mem::swap(m, &mut mine);
    gc(m);
    match how {
        Exchange::Dropped => drop(mine),
        Exchange::Panicked => std::panic::resume_unwind(Box::new("with both exchanged")),
        Exchange::Kept => KEPT.set(Some(mine)),
        Exchange::PutBack => std::mem::swap(m, &mut mine),
    }
}

/// Objects with finalizers, the `at`-th of which exchanges its mutator.
fn register(m: &Mutator, other: &Heap, how: Exchange, at: u64, log: &Log) {
    let nodes = Nodes::new(m.heap());
    for number in 0..40 {
        let (log, other) = (log_value(log), (number == at).then(|| other.clone()));
        m.set_finalizer(nodes.make(m, number), move |m, node| {
            log(m, node);
            if let Some(other) = other {
                exchange(how, &other, m);
            }
        })
        .expect("set");
    }
}

const EXCHANGES: [Exchange; 4] =
    [Exchange::Dropped, Exchange::Panicked, Exchange::Kept, Exchange::PutBack];

#[test]
fn an_exchanged_mutator_stops_no_other_finalizer() {
    for (how, at) in EXCHANGES.into_iter().flat_map(|how| [0, 3, 39].map(|at| (how, at))) {
        let (heap, other) = (threaded(), threaded());
        let mut m = heap.attach().expect("a mutator");
        let log = Log::default();
        register(&m, &other, how, at, &log);
        gc(&m);
        assert!(m.wait_finalizers(LONG), "{how:?} at {at}");
        let mut seen = entries(&log);
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<_>>(), "{how:?} at {at}");
        let counts = heap.special_counts().finalizers;
        let exchanged = u64::from(how != Exchange::PutBack);
        assert_eq!((counts.executed, counts.panicked), (40, exchanged), "{how:?} at {at}");
        // Both heaps stop, collect and finalize.
        let mut n = other.attach().expect("a mutator");
        for m in [&mut m, &mut n] {
            m.set_finalizer(Nodes::new(m.heap()).make(m, 77), log_value(&log)).expect("set");
            gc(m);
            assert!(m.wait_finalizers(LONG), "{how:?} at {at}");
            assert_eq!(m.verify().expect("a stopped world"), None);
        }
        assert_eq!(entries(&log)[40..], [77, 77], "{how:?} at {at}");
    }
}

#[test]
fn an_owner_whose_mutator_was_exchanged_has_lost_nothing() {
    for how in EXCHANGES {
        let (heap, other) = (manual(), manual());
        let mut m = heap.attach().expect("a mutator");
        m.push_root(Nodes::new(&heap).make(&m, 99));
        let log = Log::default();
        register(&m, &other, how, 3, &log);
        gc(&m);
        let ran = m.run_finalizers(usize::MAX);
        if how == Exchange::PutBack {
            assert_eq!((ran, m.root_count(), value(m.root(0))), (40, 1, 99));
            continue;
        }
        let counts = heap.special_counts().finalizers;
        assert_eq!((ran as u64, counts.pending, counts.panicked), (4, 36, 1), "{how:?}");
        // The owner has the other mutator now, with its root.
        assert_eq!(m.verify().expect("a stopped world"), None, "{how:?}");
        assert_eq!((m.root_count(), value(m.root(0))), (1, 1), "{how:?}");
        let mut first = match how {
            Exchange::Kept => {
                let kept = KEPT.take().expect("the finalizer kept it");
                assert_eq!((kept.root_count(), value(kept.root(0))), (1, 99));
                kept
            }
            _ => heap.attach().expect("it was detached"),
        };
        gc(&first);
        gc(&m);
        assert_eq!(first.run_finalizers(usize::MAX), 36, "{how:?}");
        assert_eq!(entries(&log), (0..40).collect::<Vec<_>>(), "in order, each once: {how:?}");
    }
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
