//! Cleanups: the origin's own tests of `AddCleanup`, and our rules.

#![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "tests on objects they made")]

mod support;

use mallocgc::base::Address;
use mallocgc::raw::{AllocFlags, Cleanup, CleanupError, Force, Layout, Placement, TypeLayout};
use std::ptr::null_mut;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use support::specials::{Count, LONG, counting, gc, is_allocated, make, manual, threaded};

/// Cleanup: it runs once, after the object is gone, and gets its argument.
#[test]
fn cleanup_runs_once_after_the_object_is_gone() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 64);
    let argument = make(&m, 32);
    unsafe { argument.cast::<u64>().write(97531) };
    let (sender, receiver) = mpsc::channel();
    let gone = Address::from_ptr(object.as_ptr());
    m.add_cleanup_with(object.as_ptr(), argument.as_ptr(), move |m, argument| {
        assert!(m.heap().find_object(gone).is_none(), "the object is gone");
        let value = unsafe { argument.cast::<u64>().read() };
        sender.send(value).expect("a receiver");
    })
    .expect("added");
    assert_eq!(m.run_cleanups(usize::MAX), 0);
    for _ in 0..3 {
        gc(&m);
    }
    assert_eq!(m.run_cleanups(usize::MAX), 1);
    assert_eq!(receiver.recv(), Ok(97531), "the argument lives until the cleanup has run");
    assert_eq!(heap.special_counts().cleanups.panicked, 0);
    gc(&m);
    assert!(!is_allocated(&heap, argument), "and no longer");
    assert_eq!(m.run_cleanups(usize::MAX), 0);
}

/// CleanupMultiple: three on one object all run.
#[test]
fn cleanup_multiple_all_run() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 64);
    let count = Count::default();
    for _ in 0..3 {
        m.add_cleanup(object.as_ptr(), counting(&count)).expect("added");
    }
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 3);
    assert_eq!(count.load(SeqCst), 3);
}

/// CleanupZeroSizedStruct: accepted, and inert.
#[test]
fn cleanup_zero_sized_is_inert() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 0);
    let held = Arc::new(());
    let inner = held.clone();
    let cleanup = m.add_cleanup(object.as_ptr(), move |_| drop(inner)).expect("accepted");
    assert_eq!(cleanup.placement(), Placement::Immortal);
    assert_eq!(Arc::strong_count(&held), 1, "the closure is dropped");
    assert!(!cleanup.stop(&heap));
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 0);
}

#[test]
fn cleanups_on_statics_are_inert() {
    static GLOBAL: [u64; 2] = [0; 2];
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    heap.register_static_range((&raw const GLOBAL).cast(), size_of_val(&GLOBAL));
    let cleanup = m.add_cleanup((&raw const GLOBAL[1]).cast_mut().cast(), |_| ()).expect("added");
    assert_eq!(cleanup.placement(), Placement::Immortal);
    assert_eq!(heap.special_counts().cleanups_added, 0);
}

/// CleanupAfterFinalizer: the finalizer first, the cleanup in a later cycle.
#[test]
fn cleanup_after_finalizer() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 64);
    let (finalized, cleaned) = (Count::default(), Count::default());
    m.add_cleanup(object.as_ptr(), counting(&cleaned)).expect("added");
    let count = finalized.clone();
    m.set_finalizer(object, move |_, _| {
        count.fetch_add(1, SeqCst);
    })
    .expect("set");
    m.add_cleanup(object.as_ptr(), counting(&cleaned)).expect("added");
    gc(&m);
    assert_eq!((m.run_cleanups(usize::MAX), m.run_finalizers(usize::MAX)), (0, 1));
    assert_eq!((finalized.load(SeqCst), cleaned.load(SeqCst)), (1, 0));
    gc(&m);
    assert_eq!((m.run_cleanups(usize::MAX), m.run_finalizers(usize::MAX)), (2, 0));
    assert_eq!((finalized.load(SeqCst), cleaned.load(SeqCst)), (1, 2));
}

/// CleanupInteriorPointer: at three places of one object.
#[test]
fn cleanup_interior_pointers() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 96);
    let count = Count::default();
    for offset in [0, 8, 95] {
        m.add_cleanup(unsafe { object.add(offset) }.as_ptr(), counting(&count)).expect("added");
    }
    m.push_root(unsafe { object.add(40) });
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 0);
    m.truncate_roots(0);
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 3);
}

/// CleanupStop: it does not run; the closure is dropped.
#[test]
fn cleanup_stop() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 64);
    let count = Count::default();
    let cleanup = m.add_cleanup(object.as_ptr(), counting(&count)).expect("added");
    assert_eq!(Arc::strong_count(&count), 2);
    assert!(cleanup.stop(&heap));
    assert_eq!(Arc::strong_count(&count), 1);
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 0);
    assert!(!is_allocated(&heap, object));
    assert_eq!(heap.special_counts().cleanups_stopped, 1);
}

/// CleanupStopMultiple: stopping twice is stopping once.
#[test]
fn cleanup_stop_is_idempotent() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 64);
    let count = Count::default();
    let cleanup = m.add_cleanup(object.as_ptr(), counting(&count)).expect("added");
    assert!(cleanup.stop(&heap));
    // The record is reused by others, whom the old handle does not name.
    for _ in 0..100 {
        m.add_cleanup(object.as_ptr(), counting(&count)).expect("added");
        assert!(!cleanup.stop(&heap));
    }
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 100);
}

/// CleanupStopinterleavedMultiple: of five, two are stopped.
#[test]
fn cleanup_stop_some_of_several() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 64);
    let counts: Vec<Count> = (0..5).map(|_| Count::default()).collect();
    let cleanups: Vec<Cleanup> = counts
        .iter()
        .map(|count| m.add_cleanup(object.as_ptr(), counting(count)).expect("added"))
        .collect();
    assert!(cleanups[1].stop(&heap));
    assert!(cleanups[3].stop(&heap));
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 3);
    let ran: Vec<_> = counts.iter().map(|count| count.load(SeqCst)).collect();
    assert_eq!(ran, [1, 0, 1, 0, 1]);
}

/// CleanupStopAfterCleanupRuns: stopping is harmless then, and when queued.
#[test]
fn cleanup_stop_once_queued_or_run_does_nothing() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let count = Count::default();
    let cleanup = m.add_cleanup(make(&m, 64).as_ptr(), counting(&count)).expect("added");
    gc(&m);
    assert!(!cleanup.stop(&heap), "queued");
    assert_eq!(m.run_cleanups(usize::MAX), 1);
    assert!(!cleanup.stop(&heap), "run");
    assert_eq!(count.load(SeqCst), 1);
}

/// CleanupPointerEqualsArg, UnreachablePointer, and the other refusals.
#[test]
fn cleanup_refusals_are_errors_of_their_own() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 64);
    let at = object.as_ptr();
    let held = Arc::new(());
    let add = |object: *mut u8, argument: *mut u8| {
        let held = held.clone();
        m.add_cleanup_with(object, argument, move |_, _| drop(held)).map(drop)
    };
    assert_eq!(add(null_mut(), at), Err(CleanupError::PtrIsNull));
    assert_eq!(add(null_mut(), null_mut()), Err(CleanupError::PtrIsNull));
    assert_eq!(add(at, at), Err(CleanupError::PtrEqualsArg));
    let mut local = 0u64;
    let foreign = (&raw mut local).cast();
    let address = Address::from_ptr(foreign);
    assert_eq!(add(foreign, null_mut()), Err(CleanupError::NotAllocated { address }));
    let inside = unsafe { at.add(24) };
    let within = CleanupError::ArgWithinObject {
        argument: Address::from_ptr(inside),
        object: Address::from_ptr(at),
    };
    assert_eq!(add(at, inside), Err(within));
    assert_eq!(
        add(inside, at),
        Err(CleanupError::ArgWithinObject {
            argument: Address::from_ptr(at),
            object: Address::from_ptr(at),
        })
    );
    assert_eq!(Arc::strong_count(&held), 1, "refused closures are dropped");
    let text = within.to_string();
    assert!(text.contains("the cleanup would never run"), "{text}");
    assert!(CleanupError::PtrEqualsArg.to_string().contains("would never run"));
    // A neighbour in a block of tiny objects is another object.
    let (a, b) = (make(&m, 4), make(&m, 4));
    assert_eq!(a.addr().get() / 16, b.addr().get() / 16, "they share a block");
    let cleanup = m.add_cleanup_with(a.as_ptr(), b.as_ptr(), |_, _| ()).expect("added");
    assert!(matches!(cleanup.placement(), Placement::SharedBlock { .. }));
    cleanup.stop(&heap);
    // Any other word will do.
    add(at, null_mut()).expect("added");
    add(at, foreign).expect("added");
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 2);
}

/// CleanupLost: added by several threads, none is lost.
#[test]
fn cleanups_added_by_several_threads_all_run() {
    const THREADS: usize = 4;
    // In zeal mode a cycle runs at every third boundary.
    let each = if support::zeal() { 500 } else { 10_000 };
    let heap = threaded();
    let count = Count::default();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let (heap, count) = (heap.clone(), count.clone());
            scope.spawn(move || {
                let m = heap.attach().expect("a mutator");
                for number in 0..each {
                    let object = make(&m, 16 + number % 200);
                    m.add_cleanup(object.as_ptr(), counting(&count)).expect("added");
                    m.poll();
                    if number % 3000 == 0 {
                        m.gc(Force::Now).expect("a collection");
                    }
                }
            });
        }
    });
    let mut m = heap.attach().expect("a mutator");
    gc(&m);
    assert!(m.wait_cleanups(LONG));
    assert_eq!(count.load(SeqCst), THREADS * each);
    let counts = heap.special_counts();
    assert_eq!(counts.cleanups_added, (THREADS * each) as u64);
    assert_eq!(counts.cleanups.executed, counts.cleanups.queued);
}

#[test]
fn cleanups_stopped_by_another_thread_while_cycles_run() {
    const OBJECTS: usize = 4000;
    let heap = threaded();
    let count = Count::default();
    let (sender, receiver) = mpsc::channel::<Cleanup>();
    let stopper = {
        let heap = heap.clone();
        // Not a mutator: it stops cleanups also while the world is stopped.
        std::thread::spawn(move || receiver.iter().filter(|cleanup| cleanup.stop(&heap)).count())
    };
    let mut m = heap.attach().expect("a mutator");
    for number in 0..OBJECTS {
        let object = make(&m, 48);
        let cleanup = m.add_cleanup(object.as_ptr(), counting(&count)).expect("added");
        sender.send(cleanup).expect("a receiver");
        if number % 200 == 0 {
            m.gc(Force::Now).expect("a collection");
        }
    }
    drop(sender);
    let stopped = m.blocking(|| stopper.join().expect("no panic"));
    gc(&m);
    assert!(m.wait_cleanups(LONG));
    assert_eq!(count.load(SeqCst) + stopped, OBJECTS, "each is stopped or runs");
    assert_eq!(Arc::strong_count(&count), 1, "and every closure is dropped");
}

#[test]
fn objects_that_refer_to_themselves_are_cleaned_up() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let pair = heap.layout(&TypeLayout::mask(2, 0b11)).expect("a layout");
    let count = Count::default();
    let object = m.mallocgc(16, pair, AllocFlags::NONE).expect("memory");
    unsafe { m.write(object.cast().as_ptr(), object.as_ptr()) };
    m.add_cleanup(object.as_ptr(), counting(&count)).expect("added");
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 1);
    assert!(!is_allocated(&heap, object), "there is no resurrection");
}

#[test]
fn an_argument_keeps_what_it_refers_to_and_stopping_lets_it_go() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let pair = heap.layout(&TypeLayout::mask(2, 0b11)).expect("a layout");
    let argument = m.mallocgc(16, pair, AllocFlags::NONE).expect("memory");
    let below = make(&m, 40);
    unsafe { m.write(argument.cast().as_ptr(), below.as_ptr()) };
    let object = make(&m, 128);
    m.push_root(object);
    let cleanup = m.add_cleanup_with(object.as_ptr(), argument.as_ptr(), |_, _| ()).expect("added");
    gc(&m);
    assert!(is_allocated(&heap, argument) && is_allocated(&heap, below));
    assert!(cleanup.stop(&heap));
    gc(&m);
    assert!(!is_allocated(&heap, argument) && !is_allocated(&heap, below));
    assert_eq!(m.run_cleanups(usize::MAX), 0);
}

/// An argument is any word: what names no object is passed over.
#[test]
fn arguments_that_name_no_object_do_no_harm() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 256);
    m.push_root(object);
    let dead: Vec<_> = (0..300).map(|_| make(&m, 1024)).collect();
    gc(&m);
    for &dead in &dead {
        assert!(!is_allocated(&heap, dead));
        m.add_cleanup_with(object.as_ptr(), dead.as_ptr(), |_, _| ()).expect("added");
    }
    for _ in 0..3 {
        gc(&m);
        assert!(dead.iter().all(|&dead| !is_allocated(&heap, dead)));
    }
    m.truncate_roots(0);
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 300);
}

#[test]
fn a_slow_finalizer_delays_no_cleanup() {
    let heap = threaded();
    let mut m = heap.attach().expect("a mutator");
    let (release, wait) = mpsc::channel::<()>();
    m.set_finalizer(make(&m, 64), move |m, _| {
        // While it waits it does not keep the world from stopping.
        m.blocking(|| wait.recv().expect("released"));
    })
    .expect("set");
    let count = Count::default();
    for _ in 0..50 {
        m.add_cleanup(make(&m, 64).as_ptr(), counting(&count)).expect("added");
    }
    gc(&m);
    assert!(m.wait_cleanups(LONG));
    assert_eq!(count.load(SeqCst), 50);
    assert_eq!(heap.special_counts().finalizers.pending, 1, "which still runs");
    assert!(!m.wait_finalizers(Duration::from_millis(5)));
    release.send(()).expect("a receiver");
    assert!(m.wait_finalizers(LONG));
}

#[test]
fn cleanups_may_allocate_collect_and_add_more() {
    let heap = threaded();
    let mut m = heap.attach().expect("a mutator");
    let count = Count::default();
    let second = counting(&count);
    m.add_cleanup(make(&m, 64).as_ptr(), move |m| {
        let object = make(m, 64);
        m.add_cleanup(object.as_ptr(), second).expect("added");
        gc(m);
    })
    .expect("added");
    gc(&m);
    assert!(m.wait_cleanups(LONG));
    assert_eq!(count.load(SeqCst), 1);
}

#[test]
fn panics_in_cleanups_are_contained_and_counted() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let names: Arc<Mutex<Vec<usize>>> = Arc::default();
    for number in 0..40 {
        let names = names.clone();
        m.add_cleanup(make(&m, 64).as_ptr(), move |_| {
            names.lock().expect("no panic").push(number);
            if number % 10 == 0 {
                std::panic::resume_unwind(Box::new(number));
            }
        })
        .expect("added");
    }
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 40);
    assert_eq!(names.lock().expect("no panic").len(), 40);
    let counts = heap.special_counts().cleanups;
    assert_eq!((counts.executed, counts.panicked, counts.pending), (40, 4, 0));
}

/// The origin counts exactly ten.
#[test]
fn cleanup_counters_are_exact() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    for _ in 0..10 {
        m.add_cleanup(make(&m, 24).as_ptr(), |_| ()).expect("added");
    }
    gc(&m);
    assert_eq!(heap.special_counts().cleanups.queued, 10);
    m.run_cleanups(usize::MAX);
    let counts = heap.special_counts();
    assert_eq!((counts.cleanups_added, counts.cleanups.executed), (10, 10));
}

#[test]
fn a_cleanup_on_a_tiny_object_says_so_and_waits_for_the_block() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let (a, b) = (make(&m, 3), make(&m, 3));
    let count = Count::default();
    let cleanup = m.add_cleanup(a.as_ptr(), counting(&count)).expect("added");
    assert!(matches!(cleanup.placement(), Placement::SharedBlock { .. }));
    m.push_root(b);
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 0);
    m.truncate_roots(0);
    gc(&m);
    assert_eq!(m.run_cleanups(usize::MAX), 1);
    let own = m.mallocgc(3, Layout::NOSCAN, AllocFlags::NO_TINY).expect("memory");
    let cleanup = m.add_cleanup(own.as_ptr(), counting(&count)).expect("added");
    assert_eq!(cleanup.placement(), Placement::Own);
}

#[test]
fn a_heap_that_ends_drops_its_cleanups() {
    let held = Arc::new(());
    {
        let heap = threaded();
        let m = heap.attach().expect("a mutator");
        for number in 0..50 {
            let (held, large) = (held.clone(), [number; 6]);
            m.add_cleanup(make(&m, 64).as_ptr(), move |_| panic!("{held:?} {large:?}"))
                .expect("added");
        }
    }
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
#[should_panic(expected = "stopped in another heap")]
fn a_cleanup_is_stopped_in_its_own_heap() {
    let (heap, other) = (manual(), manual());
    let m = heap.attach().expect("a mutator");
    let cleanup = m.add_cleanup(make(&m, 64).as_ptr(), |_| ()).expect("added");
    cleanup.stop(&other);
}

#[test]
fn a_wait_may_be_as_long_as_durations_are() {
    let heap = threaded();
    let mut m = heap.attach().unwrap();
    assert!(heap.wait_cleanups(Duration::MAX) && heap.wait_finalizers(Duration::MAX));
    assert!(m.wait_cleanups(Duration::MAX) && m.wait_finalizers(Duration::MAX));
}
