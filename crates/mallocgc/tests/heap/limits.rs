//! Limits: the hard limit, the end of the address range, refusals of the
//! system. An error is returned, nothing is lost, the heap works on.

use crate::support::memory::{fill, is_filled, link, number, reference};
use crate::support::{self, find};
use mallocgc::layout::TypeLayout;
use mallocgc::os::fault;
use mallocgc::raw::{AllocError, AllocFlags, Config, Force, Heap, Layout, Mutator};

fn limited(bytes: usize) -> Heap {
    support::heap_with(Config { heap_limit_bytes: bytes, ..support::manual() })
}

/// Allocates rooted objects until that fails; returns how many there were.
fn fill_up(m: &Mutator, size: usize) -> (usize, AllocError) {
    for count in 0.. {
        match m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE) {
            Ok(object) => {
                fill(object, size.min(64), 0x5a);
                m.push_root(object);
            }
            Err(error) => return (count, error),
        }
    }
    unreachable!("every limit is reached");
}

#[test]
fn the_limit_is_an_error_and_the_heap_recovers() {
    const LIMIT: usize = 8 << 20;
    for size in [16, 100, 1000, 30_000, 100_000, 3 << 20] {
        let heap = limited(LIMIT);
        let m = heap.attach().unwrap();
        let (count, error) = fill_up(&m, size);
        assert!(matches!(error, AllocError::LimitReached { limit_bytes: LIMIT, .. }), "{error:?}");
        assert!(error.may_succeed_later());
        let used = count * mallocgc::base::round_up_size(size);
        assert!(used <= LIMIT && used + size.max(256 << 10) * 2 >= LIMIT, "{count} of {size}");
        assert!(heap.stats().heap_inuse <= LIMIT as u64);
        for index in 0..count {
            assert!(is_filled(m.root(index), size.min(64), 0x5a), "object {index} of {size}");
        }
        // Still at the limit: the same answer, again and again.
        for _ in 0..3 {
            m.gc(Force::Now).unwrap();
            let more = m.mallocgc(size, Layout::NOSCAN, AllocFlags::SAFEPOINT);
            if let Ok(object) = more {
                // What the collection left of the last span.
                m.push_root(object);
            }
        }
        // Half is dropped: that many can be made again.
        m.truncate_roots(count / 2);
        m.gc(Force::Now).unwrap();
        for _ in 0..count / 2 {
            let object = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
            assert!(is_filled(object, size, 0));
        }
        heap.stats_at_rest().check().unwrap();
    }
}

#[test]
fn a_safepoint_collects_before_it_gives_up() {
    const LIMIT: usize = 4 << 20;
    for size in [64, 5000, 200_000] {
        let heap = limited(LIMIT);
        let m = heap.attach().unwrap();
        // 64 MiB in all, none of it kept: no allocation fails.
        for _ in 0..(64 << 20) / size {
            m.mallocgc(size, Layout::NOSCAN, AllocFlags::SAFEPOINT).unwrap();
        }
        assert!(heap.stats().num_gc > 5);
    }
}

#[test]
fn allocation_that_is_no_safepoint_never_collects() {
    let heap = limited(4 << 20);
    let m = heap.attach().unwrap();
    let (count, _) = fill_up(&m, 1000);
    m.truncate_roots(0);
    assert!(m.mallocgc(1000, Layout::NOSCAN, AllocFlags::NONE).is_err());
    assert_eq!(heap.stats().num_gc, 0);
    // But the next boundary does.
    m.poll();
    heap.stats_at_rest().check().unwrap();
    m.gc(Force::Now).unwrap();
    for _ in 0..count {
        m.mallocgc(1000, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    }
}

#[test]
fn objects_larger_than_the_limit_are_refused_without_harm() {
    let heap = limited(4 << 20);
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::repeat(1, 1)).unwrap();
    for layout in [Layout::NOSCAN, node] {
        for size in [(4 << 20) + 1, 64 << 20, 1 << 30] {
            let made = m.mallocgc(size, layout, AllocFlags::NONE);
            assert!(matches!(made, Err(AllocError::LimitReached { .. })), "{made:?}");
        }
    }
    assert_eq!(heap.stats().heap_inuse, 0);
    let kept = m.mallocgc(2 << 20, node, AllocFlags::NONE).unwrap();
    assert!(find(&heap, kept).is_some());
}

#[test]
fn the_end_of_the_address_range_is_an_error() {
    let heap = support::heap_with(Config { reserve_bytes: 64 << 20, ..support::manual() });
    let m = heap.attach().unwrap();
    for size in [1 << 20, 20_000, 1000] {
        let (count, error) = fill_up(&m, size);
        assert!(matches!(error, AllocError::OutOfMemory { cause: None, .. }), "{error:?}");
        assert!(count * size <= 64 << 20 && count * size > 48 << 20, "{count} times {size}");
        m.truncate_roots(0);
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(heap.stats().heap_objects, 0);
    }
    let made = m.mallocgc(65 << 20, Layout::NOSCAN, AllocFlags::NONE);
    assert_eq!(made, Err(AllocError::TooLarge { bytes: 65 << 20 }));
}

/// A bit of everything that asks the system for something.
fn scenario(heap: &Heap) -> Result<(), Box<dyn std::error::Error>> {
    let m = heap.attach()?;
    let node = heap.layout(&TypeLayout::mask(2, 0b11))?;
    let wide = heap.layout(&TypeLayout::repeat(5, 0b10101))?;
    let mut kept: Vec<mallocgc::raw::Root> = Vec::new();
    for step in 0..600usize {
        let size = [16, 48, 200, 1000, 9000, 50_000][step % 6];
        let object = m.mallocgc(size, [node, wide][step % 2], AllocFlags::NONE)?;
        assert!(is_filled(object, size, 0));
        if let Some(previous) = kept.last() {
            link(&m, object, 0, previous.get());
        }
        kept.push(heap.root(object)?);
    }
    for size in [1 << 20, 12 << 20, 70 << 20] {
        m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE)?;
    }
    m.gc(Force::NowAndSweep)?;
    let mut at = kept.last().map(|root| root.get());
    let mut length = 0;
    while let Some(object) = at {
        assert!(find(heap, object).is_some());
        at = reference(object, 0);
        length += 1;
    }
    assert_eq!(length, 600);
    Ok(())
}

#[test]
fn every_refusal_of_the_system_is_an_error_value() {
    // The n-th call fails, for every n there is; and all from the n-th on.
    for all_from_there in [false, true] {
        for n in 1.. {
            let guard = match all_from_there {
                false => fault::fail_nth(n),
                true => fault::fail_from(n),
            };
            let config = Config { background: false, workers: 1, ..support::manual() };
            let heap = Heap::new(config);
            let failed = heap.as_ref().ok().map(scenario);
            let refused = guard.failed();
            drop(guard);
            let Ok(heap) = heap else {
                assert!(refused > 0);
                continue;
            };
            if refused == 0 {
                failed.unwrap().expect("nothing was refused");
                assert!(n > 20, "only {n} calls");
                break;
            }
            // Error or not, the heap works on.
            scenario(&heap).unwrap_or_else(|error| panic!("after call {n}: {error}"));
            heap.gc(Force::NowAndSweep).unwrap();
            let stats = heap.stats();
            assert_eq!(stats.heap_objects, 0, "after call {n}");
            stats.check().unwrap_or_else(|error| panic!("after call {n}: {error}"));
        }
    }
}

#[test]
fn marking_needs_no_memory() {
    // The mark stack cannot grow: entries are dropped and found again.
    let heap = support::heap_with(Config { workers: 1, ..support::manual() });
    let m = heap.attach().unwrap();
    let pair = heap.layout(&TypeLayout::mask(2, 0b11)).unwrap();
    let class = m.alloc_class(16, pair).unwrap();
    let mut all = Vec::new();
    for index in 0..300_000usize {
        let top = m.alloc(class).unwrap();
        let below = m.alloc(class).unwrap();
        let leaf = m.alloc(class).unwrap();
        link(&m, top, 0, below);
        link(&m, below, 1, leaf);
        m.push_root(top);
        if index % 100 == 0 {
            all.push((number(top), number(below), number(leaf)));
        }
    }
    let guard = fault::fail_from(1);
    m.gc(Force::NowAndSweep).unwrap();
    assert!(guard.failed() > 0, "the stack wanted to grow");
    drop(guard);
    for (top, below, leaf) in all {
        for address in [top, below, leaf] {
            assert!(support::find_at(&heap, address).is_some());
        }
    }
    assert_eq!(heap.stats().heap_objects, 900_000);
    m.truncate_roots(0);
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 0);
}
