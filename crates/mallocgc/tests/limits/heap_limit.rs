//! The hard limit at its edges: nothing, everything, moved, and hit again and again.

use crate::support::{self, scaled};
use crate::{MIB, block, kept};
use mallocgc::os::fault;
use mallocgc::raw::{AllocError, AllocFlags, Config, Force, Heap, Layout, Mutator};

const NONE: AllocFlags = AllocFlags::NONE;
const SAFEPOINT: AllocFlags = AllocFlags::SAFEPOINT;

fn limited(bytes: usize) -> Heap {
    support::heap_with(Config { heap_limit_bytes: bytes, ..support::manual() })
}

/// Keeps objects of a size until that is refused; how many.
fn fill_up(m: &Mutator, bytes: usize, flags: AllocFlags) -> usize {
    for count in 0.. {
        match kept(m, bytes, flags) {
            Ok(()) => continue,
            Err(AllocError::LimitReached { .. }) => return count,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("every limit is reached");
}

#[test]
fn ten_thousand_refusals_leave_a_usable_heap() {
    for (bytes, flags, refusals) in [
        (1000, NONE, 10_000),
        (1000, SAFEPOINT, scaled(10_000)),
        (100_000, NONE, 10_000),
        (100_000, SAFEPOINT, scaled(10_000)),
    ] {
        let heap = limited(2 * MIB);
        let m = heap.attach().unwrap();
        let count = fill_up(&m, bytes, flags);
        let before = heap.stats().limit_errors;
        for _ in 0..refusals {
            let refused = block(&m, bytes, flags);
            assert!(matches!(refused, Err(AllocError::LimitReached { .. })), "{refused:?}");
        }
        let stats = heap.stats();
        assert!(stats.limit_errors >= before + refusals as u64);
        assert!(stats.heap_inuse <= 2 * MIB as u64);
        // All can be had again, twice.
        for _ in 0..2 {
            m.truncate_roots(0);
            m.poll();
            m.gc(Force::NowAndSweep).unwrap();
            assert_eq!(heap.stats().heap_objects, 0);
            assert_eq!(fill_up(&m, bytes, flags), count, "objects of {bytes}");
        }
        assert_eq!(m.verify().unwrap(), None);
        heap.stats().check().unwrap();
    }
}

#[test]
fn a_limit_of_nothing_refuses_everything_but_nothing() {
    for limit in [0, 1, 8191] {
        let heap = limited(limit);
        let m = heap.attach().unwrap();
        for bytes in [1, 8, 1000, 100_000] {
            for flags in [NONE, SAFEPOINT] {
                let refused = block(&m, bytes, flags);
                assert!(matches!(refused, Err(AllocError::LimitReached { .. })), "{refused:?}");
            }
        }
        assert_eq!(m.mallocgc(0, Layout::NOSCAN, NONE), Ok(heap.zero_base()));
        assert!(heap.try_external(limit + 1).is_err());
        assert!(heap.try_external(limit).is_ok());
        m.poll();
        m.gc(Force::NowAndSweep).unwrap();
        heap.stats().check().unwrap();
        // And a limit can come to a heap later.
        heap.set_heap_limit_bytes(MIB);
        block(&m, 1000, NONE).unwrap();
    }
}

#[test]
fn what_is_larger_than_the_limit_is_refused_without_a_collection() {
    let heap = limited(MIB);
    let m = heap.attach().unwrap();
    kept(&m, 1000, NONE).unwrap();
    for bytes in [MIB + 1, 8 * MIB] {
        for flags in [NONE, SAFEPOINT] {
            let refused = block(&m, bytes, flags).unwrap_err();
            let AllocError::LimitReached { bytes: named, limit_bytes } = refused else {
                panic!("{refused:?}");
            };
            assert!(named >= bytes && named - bytes < 8192 && limit_bytes == MIB, "{refused:?}");
        }
    }
    m.poll();
    assert_eq!(heap.stats().num_gc, 0);
    let small = limited(4096);
    let m = small.attach().unwrap();
    let refused = AllocError::LimitReached { bytes: 8192, limit_bytes: 4096 };
    assert_eq!(block(&m, 16, SAFEPOINT), Err(refused), "the bytes of a span");
    assert_eq!(small.stats().num_gc, 0);
}

#[test]
fn a_limit_of_everything_is_none() {
    let heap = limited(usize::MAX);
    let m = heap.attach().unwrap();
    kept(&m, 40 * MIB, NONE).unwrap();
    assert_eq!(heap.stats().heap_limit, u64::MAX);
    assert_eq!(heap.stats().limit_errors, 0);
    let too_large = m.mallocgc(usize::MAX, Layout::NOSCAN, NONE);
    assert_eq!(too_large, Err(AllocError::TooLarge { bytes: usize::MAX }));
}

#[test]
fn a_limit_lowered_below_what_lives_refuses_until_that_is_dropped() {
    let heap = limited(64 * MIB);
    let m = heap.attach().unwrap();
    for _ in 0..32 {
        kept(&m, MIB, NONE).unwrap();
    }
    assert_eq!(heap.set_heap_limit_bytes(8 * MIB), 64 * MIB);
    for flags in [NONE, SAFEPOINT] {
        let refused = AllocError::LimitReached { bytes: MIB, limit_bytes: 8 * MIB };
        assert_eq!(block(&m, MIB, flags), Err(refused));
    }
    // Not yet: ten are still more than eight.
    m.truncate_roots(10);
    assert!(block(&m, MIB, SAFEPOINT).is_err());
    m.truncate_roots(4);
    for _ in 0..100 {
        block(&m, MIB, SAFEPOINT).unwrap();
    }
    assert_eq!(heap.set_heap_limit_bytes(32 * MIB), 8 * MIB);
    for _ in 0..20 {
        kept(&m, MIB, NONE).unwrap();
    }
    heap.stats().check().unwrap();
}

#[test]
fn a_limit_lowered_below_what_lives_does_not_collect_at_every_boundary() {
    let config = Config { gc_percent: Some(100), collect_every: 0, ..support::config() };
    let heap = support::heap_with(config);
    let m = heap.attach().unwrap();
    for _ in 0..16 {
        kept(&m, MIB, NONE).unwrap();
    }
    heap.set_heap_limit_bytes(8 * MIB);
    m.gc(Force::NowAndSweep).unwrap();
    let before = heap.stats().num_gc;
    (0..1000).for_each(|_| m.poll());
    assert!(heap.stats().num_gc <= before + 1);
}

#[test]
fn refusals_of_the_system_at_the_limit_are_errors_too() {
    let heap = limited(16 * MIB);
    let m = heap.attach().unwrap();
    let guard = fault::fail_from(1);
    let mut last = Ok(());
    for _ in 0..64 {
        last = kept(&m, MIB, SAFEPOINT);
        if last.is_err() {
            break;
        }
    }
    assert!(matches!(last, Err(AllocError::OutOfMemory { .. })), "{last:?}");
    drop(guard);
    m.truncate_roots(0);
    let count = fill_up(&m, MIB, SAFEPOINT);
    assert_eq!(count, 16);
    let guard = fault::fail_from(1);
    assert!(matches!(block(&m, MIB, SAFEPOINT), Err(AllocError::LimitReached { .. })));
    assert_eq!(heap.release_memory(), 0);
    drop(guard);
    m.truncate_roots(0);
    assert_eq!(fill_up(&m, MIB, SAFEPOINT), 16);
    heap.stats().check().unwrap();
}
