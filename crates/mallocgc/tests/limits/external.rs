//! External bytes: counted where objects are, given back by whoever drops the guard.

use crate::support;
use crate::{MIB, block, kept};
use mallocgc::base::random::Random;
use mallocgc::raw::{AllocError, AllocFlags, Config, External, Force, Heap, Layout};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

const NONE: AllocFlags = AllocFlags::NONE;

fn external_bytes(heap: &Heap) -> u64 {
    let stats = heap.stats();
    stats.check().unwrap();
    stats.external_bytes
}

#[test]
fn the_sum_is_that_of_the_guards() {
    let heap = support::heap();
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut guards: Vec<External> = Vec::new();
        for _ in 0..200 {
            let bytes = random.below(1 << 30) as usize;
            match random.below(3) {
                0 => guards.push(heap.external(bytes)),
                1 if !guards.is_empty() => {
                    let at = random.below(guards.len() as u64) as usize;
                    guards[at].resize(bytes);
                    assert_eq!(guards[at].bytes(), bytes);
                }
                _ => drop(guards.pop()),
            }
            let sum: u64 = guards.iter().map(|guard| guard.bytes() as u64).sum();
            assert_eq!(external_bytes(&heap), sum, "seed {seed}");
        }
        drop(guards);
        assert_eq!(external_bytes(&heap), 0, "seed {seed}");
    }
}

#[test]
fn no_number_is_too_large() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let most = isize::MAX as u64;
    let mut first = heap.external(usize::MAX);
    assert_eq!((first.bytes(), external_bytes(&heap)), (usize::MAX, most));
    let mut second = heap.external(usize::MAX);
    let third = heap.external(5);
    assert_eq!(external_bytes(&heap), most, "the sum stops there");
    block(&m, 1000, AllocFlags::SAFEPOINT).unwrap();
    m.gc(Force::Now).unwrap();
    first.resize(7);
    assert_eq!(external_bytes(&heap), 7);
    second.resize(0);
    second.resize(usize::MAX);
    second.try_resize(3).unwrap();
    assert_eq!(external_bytes(&heap), 10);
    drop((first, second, third));
    assert_eq!(external_bytes(&heap), 0);
    assert_eq!(heap.pace().trigger_bytes, u64::MAX);
}

#[test]
fn cycles_come_by_external_bytes_alone() {
    let config = Config { gc_percent: Some(100), collect_every: 0, ..support::config() };
    let heap = support::heap_with(Config { background: false, ..config });
    let mut m = heap.attach().unwrap();
    let mut most = 0;
    for _ in 0..1000 {
        let object = m.mallocgc(64, Layout::NOSCAN, NONE).unwrap();
        let outside = heap.external(MIB);
        m.add_cleanup(object.as_ptr(), move |_| drop(outside)).unwrap();
        most = most.max(external_bytes(&heap));
        m.poll();
        m.run_cleanups(usize::MAX);
    }
    let stats = heap.stats();
    assert!(stats.num_gc >= 100, "{} cycles for a gibibyte", stats.num_gc);
    assert!(most <= 9 * MIB as u64, "{most}");
    assert!(stats.heap_alloc < MIB as u64);
}

#[test]
fn bytes_given_back_make_the_goal_smaller() {
    let config = Config { gc_percent: Some(100), collect_every: 0, ..support::config() };
    let heap = support::heap_with(config);
    let m = heap.attach().unwrap();
    let outside = heap.external(100 * MIB);
    m.poll();
    let pace = heap.pace();
    assert!((200 * MIB as u64..201 * MIB as u64).contains(&pace.goal_bytes), "{pace:?}");
    assert!(heap.heap_bytes() >= 100 * MIB as u64);
    drop(outside);
    assert!(heap.pace().goal_bytes <= 5 * MIB as u64, "{:?}", heap.pace());
}

#[test]
fn the_heap_limit_is_on_objects_and_outside_together() {
    let config = Config { heap_limit_bytes: 16 * MIB, ..support::manual() };
    let heap = support::heap_with(config);
    let m = heap.attach().unwrap();
    for _ in 0..8 {
        kept(&m, MIB, NONE).unwrap();
    }
    let refused = |bytes| AllocError::LimitReached { bytes, limit_bytes: 16 * MIB };
    assert_eq!(heap.try_external(9 * MIB).unwrap_err(), refused(9 * MIB));
    assert_eq!(heap.try_external(usize::MAX).unwrap_err(), refused(usize::MAX));
    let mut outside = heap.try_external(6 * MIB).unwrap();
    assert_eq!(outside.try_resize(9 * MIB), Err(refused(3 * MIB)));
    assert_eq!(outside.bytes(), 6 * MIB, "the old number stands");
    for _ in 0..2 {
        kept(&m, MIB, NONE).unwrap();
    }
    assert_eq!(block(&m, MIB, NONE), Err(refused(MIB)));
    // What exists counts, even above the limit.
    outside.resize(32 * MIB);
    assert_eq!(block(&m, MIB, AllocFlags::SAFEPOINT), Err(refused(MIB)));
    outside.resize(0);
    block(&m, MIB, NONE).unwrap();
    assert_eq!(heap.stats().heap_inuse, 11 * MIB as u64);
}

#[test]
fn guards_cross_threads_and_outlive_the_heap() {
    let heap = support::heap();
    let guard = heap.external(MIB);
    std::thread::spawn(move || drop(guard)).join().unwrap();
    assert_eq!(external_bytes(&heap), 0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut guard = heap.external(0);
                for step in 0..10_000 {
                    guard.resize(step % 1000);
                }
            });
        }
    });
    assert_eq!(external_bytes(&heap), 0);
    let mut guard = heap.external(MIB);
    drop(heap);
    guard.resize(2 * MIB);
    guard.try_resize(usize::MAX).unwrap();
    assert_eq!(guard.bytes(), usize::MAX);
}

#[test]
fn guards_may_change_inside_callbacks() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let pool = Arc::new(Mutex::new(vec![heap.external(5 * MIB), heap.external(7)]));
    let (cleared, ran) = (pool.clone(), Arc::new(AtomicBool::new(false)));
    let seen = ran.clone();
    heap.add_clear_hook(move || {
        let mut pool = cleared.lock().unwrap();
        pool[0].resize(9 * MIB);
        pool.truncate(1);
        seen.store(true, Relaxed);
    });
    m.gc(Force::Now).unwrap();
    assert!(ran.load(Relaxed));
    assert_eq!(external_bytes(&heap), 9 * MIB as u64);
    pool.lock().unwrap().clear();
    assert_eq!(external_bytes(&heap), 0);
}
