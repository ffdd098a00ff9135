//! The threads that run finalizers and cleanups, seen from outside. Alone in
//! its process, since it counts the threads.

#![allow(missing_docs, reason = "a test")]

use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
use std::time::Duration;

/// The names of this process's threads that belong to heaps.
fn heap_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("proc");
    let mut names: Vec<_> = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("mallocgc-"))
        .collect();
    names.sort();
    names
}

/// createfing: no thread before the first registration; one of each kind;
/// none when the heap is gone, and none for a heap that runs them itself.
#[test]
fn threads_start_with_the_first_registration_and_end_with_the_heap() {
    let heap = Heap::new(Config::default()).expect("a heap");
    let mut m = heap.attach().expect("a mutator");
    let make = |m: &mallocgc::raw::Mutator| {
        m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).expect("memory")
    };
    let handle = m.weak(make(&m)).expect("a handle");
    m.gc(Force::NowAndSweep).expect("a collection");
    assert_eq!(heap_threads(), Vec::<String>::new(), "weak handles need no thread");
    for _ in 0..10 {
        m.set_finalizer(make(&m), |_, _| ()).expect("set");
    }
    // A thread names itself after it has started.
    let named = |expected: &[&str]| {
        (0..2000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            heap_threads() == expected
        })
    };
    assert!(named(&["mallocgc-fin"]), "{:?}", heap_threads());
    for _ in 0..10 {
        m.add_cleanup(make(&m).as_ptr(), |_| ()).expect("added");
    }
    assert!(named(&["mallocgc-clean", "mallocgc-fin"]), "{:?}", heap_threads());
    m.gc(Force::NowAndSweep).expect("a collection");
    assert!(m.wait_finalizers(Duration::from_secs(20)) && m.wait_cleanups(Duration::from_secs(20)));
    drop(handle);
    drop(m);
    drop(heap);
    assert!(named(&[]), "the threads ended with the heap");

    let heap = Heap::new(Config { background: false, ..Config::default() }).expect("a heap");
    let mut m = heap.attach().expect("a mutator");
    m.set_finalizer(make(&m), |_, _| ()).expect("set");
    m.add_cleanup(make(&m).as_ptr(), |_| ()).expect("added");
    m.gc(Force::NowAndSweep).expect("a collection");
    assert!(!m.wait_finalizers(Duration::from_millis(1)), "nobody else runs it");
    assert_eq!((m.run_finalizers(9), m.run_cleanups(9)), (1, 1));
    assert!(m.wait_finalizers(Duration::ZERO));
    assert_eq!(heap_threads(), Vec::<String>::new());
}
