//! Settings that change while the heap runs, clear hooks, the event stream.

use crate::support::memory::{link, number};
use crate::support::program::{Dice, Machine, Settings};
use crate::support::{self, find};
use mallocgc::layout::TypeLayout;
use mallocgc::observe::LiveObjects;
use mallocgc::raw::{AllocError, AllocFlags, Config, Force, Layout, Root};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

#[test]
fn the_percentage_sets_the_goal() {
    // The origin's TestSetGCPercent, at a tenth of its size.
    let heap = support::heap_with(Config { gc_percent: Some(100), ..support::manual() });
    let m = heap.attach().unwrap();
    for _ in 0..100 {
        m.push_root(m.mallocgc(100 << 10, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap());
    }
    m.gc(Force::Now).unwrap();
    let live = heap.stats().live_bytes;
    let near = |goal: u64, expected: u64| goal.abs_diff(expected) <= expected / 10;
    assert!(near(heap.stats().next_gc, 2 * live));
    assert_eq!(heap.set_gc_percent(Some(50)), Some(100));
    assert!(near(heap.stats().next_gc, live * 3 / 2));
    // Lowering it below what there is makes a cycle due.
    for _ in 0..30 {
        m.push_root(m.mallocgc(100 << 10, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap());
    }
    let before = heap.stats().num_gc;
    assert_eq!(heap.set_gc_percent(Some(10)), Some(50));
    m.poll();
    assert_eq!(heap.stats().num_gc, before + 1);
    assert_eq!(heap.set_gc_percent(None), Some(10));
    for _ in 0..1000 {
        m.mallocgc(100 << 10, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap();
        m.poll();
    }
    assert_eq!(heap.stats().num_gc, before + 1, "off is off");
    assert_eq!(heap.set_gc_percent(Some(100)), None);
    m.poll();
    assert_eq!(heap.stats().num_gc, before + 2);
}

#[test]
fn the_minimum_heap_keeps_small_heaps_from_collecting() {
    let heap = support::heap_with(Config {
        gc_percent: Some(100),
        min_heap_bytes: 64 << 20,
        ..support::manual()
    });
    let m = heap.attach().unwrap();
    for _ in 0..60 * 64 {
        m.mallocgc(16 << 10, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap();
        m.poll();
    }
    assert_eq!(heap.stats().num_gc, 0);
    assert_eq!(heap.set_min_heap_bytes(1 << 20), 64 << 20);
    m.poll();
    assert_eq!(heap.stats().num_gc, 1);
}

#[test]
fn the_limit_may_be_lowered_and_raised() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for _ in 0..16 {
        m.push_root(m.mallocgc(1 << 20, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap());
    }
    assert_eq!(heap.set_heap_limit_bytes(8 << 20), usize::MAX);
    let made = m.mallocgc(1 << 20, Layout::NOSCAN, AllocFlags::SAFEPOINT);
    assert!(matches!(made, Err(AllocError::LimitReached { limit_bytes: 0x80_0000, .. })));
    m.truncate_roots(4);
    m.gc(Force::NowAndSweep).unwrap();
    for _ in 0..4 {
        m.push_root(m.mallocgc(1 << 20, Layout::NOSCAN, AllocFlags::NONE).unwrap());
    }
    assert!(m.mallocgc(1 << 20, Layout::NOSCAN, AllocFlags::NONE).is_err());
    assert_eq!(heap.set_heap_limit_bytes(usize::MAX), 8 << 20);
    m.mallocgc(1 << 20, Layout::NOSCAN, AllocFlags::NONE).unwrap();
}

#[test]
fn a_pool_loses_its_objects_within_two_cycles() {
    // The origin's clearpools: a pool with a victim generation behind it.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let pool: Arc<Mutex<[Vec<Root>; 2]>> = Arc::default();
    let cleared = pool.clone();
    let hook = heap.add_clear_hook(move || {
        let mut pool = cleared.lock().unwrap();
        pool[1] = std::mem::take(&mut pool[0]);
    });
    let object = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    pool.lock().unwrap()[0].push(heap.root(object).unwrap());
    m.gc(Force::Now).unwrap();
    assert!(find(&heap, object).is_some(), "the victims are kept once");
    m.gc(Force::Now).unwrap();
    assert_eq!(find(&heap, object), None, "and not twice");
    assert!(heap.remove_clear_hook(hook));
    assert!(!heap.remove_clear_hook(hook));
    let object = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    pool.lock().unwrap()[0].push(heap.root(object).unwrap());
    for _ in 0..3 {
        m.gc(Force::Now).unwrap();
    }
    assert!(find(&heap, object).is_some(), "nobody clears any more");
    pool.lock().unwrap()[0].clear();
}

#[test]
fn a_hook_runs_once_a_cycle() {
    let heap = support::heap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    heap.add_clear_hook(move || {
        counted.fetch_add(1, Relaxed);
    });
    for _ in 0..5 {
        heap.gc(Force::Now).unwrap();
    }
    assert_eq!(calls.load(Relaxed), 5);
}

#[test]
fn allocations_and_deaths_balance() {
    // In place of the origin's allocfreetrace: a stream whose ids match.
    let heap = support::heap();
    let live = Arc::new(LiveObjects::new());
    heap.set_listener(Some(live.listener()));
    for seed in 0..2 {
        let settings = Settings { steps: 1500, ..Settings::default() };
        Machine::new(&heap, format!("seed {seed}"), Dice::Seed(seed), settings).run();
        assert_eq!((live.check(), live.bytes()), (Ok(0), 0), "seed {seed}");
    }
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::mask(2, 0b10)).unwrap();
    let first = m.new_object(node).unwrap();
    m.push_root(first);
    for _ in 0..10 {
        let next = m.new_object(node).unwrap();
        link(&m, next, 1, m.root(0));
        m.set_root(0, next);
    }
    m.gc(Force::Now).unwrap();
    assert_eq!(live.check(), Ok(11));
    assert_ne!(number(m.root(0)), number(first));
    m.truncate_roots(0);
    m.gc(Force::Now).unwrap();
    assert_eq!(live.check(), Ok(0));
}

#[test]
fn numbers_of_one_heap_name_nothing_in_another() {
    let (one, other) = (support::heap(), support::heap());
    let word = [0usize; 1];
    // SAFETY: the word outlives both heaps' cycles, of which there are none.
    let range = |heap: &mallocgc::raw::Heap| unsafe {
        heap.add_root_range(word.as_ptr(), 1, mallocgc::raw::RangeKind::Ambiguous)
    };
    let (hook, _) = (one.add_clear_hook(|| ()), other.add_clear_hook(|| ()));
    let (callback, _) = (one.add_root_callback(|_| ()), other.add_root_callback(|_| ()));
    let (words, _) = (range(&one), range(&other));
    assert!(!other.remove_clear_hook(hook) && one.remove_clear_hook(hook));
    assert!(!other.remove_root_callback(callback) && one.remove_root_callback(callback));
    assert!(!other.remove_root_range(words) && one.remove_root_range(words));
}

#[test]
fn more_workers_than_there_can_be_are_fewer() {
    let heap = support::heap_with(Config { workers: usize::MAX, ..support::manual() });
    let m = heap.attach().unwrap();
    m.push_root(m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap());
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 1);
}
