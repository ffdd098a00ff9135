//! Many threads on one heap.

use crate::support::memory::{fill, is_filled, link, number, object, set_word, word};
use crate::support::{self, Log, find, find_at};
use mallocgc::layout::TypeLayout;
use mallocgc::raw::{AllocFlags, Config, Force, GcError, Heap, HeapError, Layout, Root};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

#[test]
fn no_two_live_objects_share_bytes() {
    let heap = support::heap_with(support::config());
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8usize {
            let (heap, all) = (&heap, &all);
            scope.spawn(move || {
                let m = heap.attach().unwrap();
                let mut mine = Vec::new();
                for step in 0..support::scaled(4000) {
                    let size = [1, 5, 8, 16, 24, 100, 500, 3000][(step + thread) % 8];
                    let made = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                    assert!(is_filled(made, size, 0));
                    fill(made, size, thread as u8 + 1);
                    m.push_root(made);
                    mine.push((number(made), size));
                    m.poll();
                }
                for &(at, size) in &mine {
                    assert!(is_filled(object(at), size, thread as u8 + 1), "another wrote {at:#x}");
                }
                all.lock().unwrap().extend(mine);
                // Roots end with the mutator, and addresses may be used again:
                // every thread has noted its own before anyone leaves.
                let mut m = m;
                m.blocking(|| {
                    while all.lock().unwrap().len() < 8 * support::scaled(4000) {
                        std::thread::yield_now();
                    }
                });
            });
        }
    });
    let mut all = all.into_inner().unwrap();
    all.sort_unstable();
    for pair in all.windows(2) {
        assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{:#x?} overlap", pair);
    }
}

#[test]
fn sixty_four_threads_allocate_collect_and_leave() {
    let heap = support::heap_with(Config { min_heap_bytes: 1 << 20, ..support::config() });
    let node = heap.layout(&TypeLayout::mask(2, 0b10)).unwrap();
    let begin = Barrier::new(64);
    std::thread::scope(|scope| {
        for thread in 0..64usize {
            let (heap, begin) = (&heap, &begin);
            scope.spawn(move || {
                begin.wait();
                let m = heap.attach().unwrap();
                let first = m.new_object(node).unwrap();
                set_word(first, 0, thread);
                m.push_root(first);
                for length in 1..support::scaled(2000) {
                    let next = m.new_object(node).unwrap();
                    set_word(next, 0, thread + length);
                    link(&m, next, 1, m.root(0));
                    m.set_root(0, next);
                    m.mallocgc(200, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                    m.poll();
                    if length % 1000 == thread {
                        m.gc(Force::Now).unwrap();
                    }
                }
                let mut at = m.root(0);
                for length in (0..support::scaled(2000)).rev() {
                    assert_eq!(word(at, 0), thread + length);
                    match crate::support::memory::reference(at, 1) {
                        Some(next) => at = next,
                        None => assert_eq!(length, 0),
                    }
                }
            });
        }
    });
    heap.gc(Force::NowAndSweep).unwrap();
    let stats = heap.stats();
    assert_eq!(stats.heap_objects, 0);
    stats.check().unwrap();
    assert_eq!(stats.mallocs, 64 * (2 * support::scaled(2000) as u64 - 1));
}

#[test]
fn records_of_threads_that_left_are_used_again() {
    let heap = support::heap();
    for _ in 0..20 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let m = heap.attach().unwrap();
                    for _ in 0..100 {
                        m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                    }
                });
            }
        });
    }
    let stats = heap.stats();
    assert_eq!(stats.mallocs, 20 * 4 * 100, "counts outlive their threads");
    assert_eq!(stats.mutators, 0);
    stats.check().unwrap();
    let records = stats.cache_sys;
    for _ in 0..100 {
        drop(heap.attach().unwrap());
    }
    assert_eq!(heap.stats().cache_sys, records, "no record is made for the next thread");
}

#[test]
fn a_thread_is_one_mutator_at_a_time() {
    let heap = support::heap();
    let first = heap.attach().unwrap();
    let kept = first.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    first.push_root(kept);
    assert_eq!(heap.attach().unwrap_err(), HeapError::AlreadyAttached);
    let other = support::heap();
    let elsewhere = other.attach().expect("another heap is another matter");
    first.gc(Force::NowAndSweep).unwrap();
    assert!(find(&heap, kept).is_some());
    drop((first, elsewhere));
    let again = heap.attach().expect("a detached thread may attach again");
    again.gc(Force::NowAndSweep).unwrap();
    assert!(find(&heap, kept).is_none(), "the first mutator's roots went with it");
}

#[test]
fn a_thread_that_blocks_does_not_hold_up_a_collection() {
    let heap = support::heap();
    let (asleep, wake) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut m = heap.attach().unwrap();
            let kept = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
            fill(kept, 64, 0x77);
            m.push_root(kept);
            m.blocking(|| {
                asleep.wait();
                wake.wait();
            });
            assert!(is_filled(m.root(0), 64, 0x77));
        });
        asleep.wait();
        for _ in 0..10 {
            heap.gc(Force::NowAndSweep).unwrap();
        }
        assert_eq!(heap.stats().heap_objects, 1);
        wake.wait();
    });
}

#[test]
fn a_mutator_that_never_polls_is_named_and_harms_nobody() {
    let log = Log::default();
    let config = Config {
        stop_limit: Duration::from_millis(50),
        min_heap_bytes: 256 << 10,
        collect_every: 0,
        ..support::config()
    };
    let heap = support::heap_with(log.of(config));
    let (attached, release) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let busy = std::thread::Builder::new().name("never-polls".into());
        let (heap, attached, release) = (&heap, &attached, &release);
        busy.spawn_scoped(scope, move || {
            let m = heap.attach().unwrap();
            attached.wait();
            while !release.load(Relaxed) {
                std::hint::spin_loop();
            }
            m.poll();
        })
        .unwrap();
        attached.wait();
        let m = heap.attach().unwrap();
        let kept = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        m.push_root(kept);
        // A forced collection gives up and says who was in the way.
        let Err(GcError::StopTimedOut(error)) = m.gc(Force::Now) else { panic!("it stopped") };
        assert_eq!(error.thread.name(), "never-polls");
        assert!(error.waited >= Duration::from_millis(50));
        let lines = log.lines();
        assert!(lines.iter().any(|line| line.contains("never-polls")), "{lines:?}");
        // Allocation goes on, past the trigger, at the price of a few attempts.
        let begin = Instant::now();
        for _ in 0..100_000 {
            m.mallocgc(100, Layout::NOSCAN, AllocFlags::NONE).unwrap();
            m.poll();
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        assert_eq!(heap.stats().num_gc, 0);
        assert!(find(heap, kept).is_some());
        release.store(true, Relaxed);
        // As soon as it polls, everything is as before.
        let until = Instant::now() + Duration::from_secs(60);
        while m.gc(Force::NowAndSweep).is_err() {
            assert!(Instant::now() < until, "the collection is still put off");
        }
        assert_eq!(heap.stats().heap_objects, 1);
    });
}

#[test]
fn allocation_in_another_thread_does_not_wait_for_a_stuck_collection() {
    let log = Log::default();
    let config = Config { stop_limit: Duration::from_millis(300), ..support::manual() };
    let heap = support::heap_with(log.of(config));
    let (attached, release) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let m = heap.attach().unwrap();
            attached.wait();
            // Allocates, but comes to no boundary, while a collection waits.
            while !release.load(Relaxed) {
                m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                std::thread::yield_now();
            }
        });
        attached.wait();
        let begin = Instant::now();
        let result = heap.gc(Force::Now);
        assert!(matches!(result, Err(GcError::StopTimedOut(_))));
        assert!(begin.elapsed() < Duration::from_secs(20));
        release.store(true, Relaxed);
    });
    assert_eq!(log.lines().len(), 1);
    heap.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 0);
}

#[test]
fn handles_pass_objects_between_threads() {
    let heap = support::heap_with(support::config());
    let node = heap.layout(&TypeLayout::mask(2, 0b10)).unwrap();
    let (send, receive) = mpsc::sync_channel::<Root>(16);
    std::thread::scope(|scope| {
        let sender = heap.clone();
        scope.spawn(move || {
            let mut m = sender.attach().unwrap();
            for number in 0..support::scaled(3000) {
                let object = m.new_object(node).unwrap();
                set_word(object, 0, number);
                let child = m.new_object(node).unwrap();
                set_word(child, 0, !number);
                link(&m, object, 1, child);
                let root = sender.root(object).unwrap();
                m.poll();
                m.blocking(|| send.send(root).unwrap());
            }
        });
        let heap = &heap;
        scope.spawn(move || {
            let mut m = heap.attach().unwrap();
            for expected in 0..support::scaled(3000) {
                let root = m.blocking(|| receive.recv().unwrap());
                let copy = root.try_clone().unwrap();
                drop(root);
                if expected % 50 == 0 {
                    m.gc(Force::Now).unwrap();
                }
                assert_eq!(word(copy.get(), 0), expected);
                let child = crate::support::memory::reference(copy.get(), 1).unwrap();
                assert_eq!(word(child, 0), !expected);
            }
        });
    });
    heap.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 0, "dropped handles keep nothing");
}

#[test]
fn handles_are_dropped_from_threads_that_are_no_mutators() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for round in 0..20 {
        let roots: Vec<Root> = (0..1000)
            .map(|_| heap.root(m.mallocgc(32, Layout::NOSCAN, AllocFlags::NONE).unwrap()).unwrap())
            .collect();
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(heap.stats().heap_objects, 1000, "round {round}");
        std::thread::spawn(move || drop(roots)).join().unwrap();
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(heap.stats().heap_objects, 0, "round {round}");
    }
    // The table of handles is used again.
    assert!(heap.stats().other_sys < 4 << 20, "{}", heap.stats().other_sys);
}

#[test]
fn a_detached_mutators_roots_keep_nothing() {
    let heap = support::heap();
    let address = {
        let m = heap.attach().unwrap();
        let kept = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        m.push_root(kept);
        m.gc(Force::Now).unwrap();
        assert!(find(&heap, kept).is_some());
        number(kept)
    };
    heap.gc(Force::Now).unwrap();
    assert_eq!(find_at(&heap, address), None);
}

/// A type storm: eight threads, many types, automatic collection at its most
/// eager (the origin's gcgort at GOGC=1).
#[test]
fn a_storm_of_types_under_constant_collection() {
    let heap = support::heap_with(Config {
        gc_percent: Some(1),
        min_heap_bytes: 4 << 20,
        ..support::config()
    });
    let shapes: Vec<TypeLayout> = (1..=24usize)
        .flat_map(|words| {
            let all = u64::MAX >> (64 - words);
            [
                TypeLayout::mask(words, all),
                TypeLayout::mask(words, 1 << (words - 1)),
                TypeLayout::mask(words, 1).array_of().unwrap(),
            ]
        })
        .collect();
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8usize {
            let (heap, shapes, made) = (&heap, &shapes, &made);
            scope.spawn(move || storm(heap, shapes, thread, made));
        }
    });
    assert_eq!(made.load(Relaxed), 8 * support::scaled(6000));
    assert!(heap.stats().num_gc > 10, "{} cycles", heap.stats().num_gc);
    heap.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 0);
}

fn storm(heap: &Heap, shapes: &[TypeLayout], thread: usize, made: &AtomicUsize) {
    let m = heap.attach().unwrap();
    let mut held: HashSet<usize> = HashSet::new();
    for step in 0..support::scaled(6000) {
        let shape = &shapes[(step * 7 + thread * 11) % shapes.len()];
        let layout = heap.layout(shape).unwrap();
        let count = if step % 3 == 2 { 1 + step % 20 } else { 1 };
        let size = shape.size_bytes() * count;
        let object = m.mallocgc(size, layout, AllocFlags::NONE).unwrap();
        assert!(is_filled(object, size, 0));
        let reference = shape.pointer_words(size / 8).next().unwrap();
        if m.root_count() > 0 {
            link(&m, object, reference, m.root(m.root_count() - 1));
        }
        m.push_root(object);
        held.insert(number(object));
        if m.root_count() == 300 {
            for index in 0..300 {
                assert!(held.contains(&number(m.root(index))));
                assert!(find(heap, m.root(index)).is_some());
            }
            m.truncate_roots(0);
            held.clear();
        }
        m.poll();
        made.fetch_add(1, Relaxed);
    }
}
