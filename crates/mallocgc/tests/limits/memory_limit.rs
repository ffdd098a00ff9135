//! The soft limit: memory stays below it while that is possible at all, and when it is
//! not the program goes on at half its speed.

use crate::support::{self, Log};
use crate::{MIB, block, kept};
use mallocgc::os::fault;
use mallocgc::raw::{AllocFlags, Config, Force, Heap, Mutator};
use std::time::Instant;

const NONE: AllocFlags = AllocFlags::NONE;

fn limited(gc_percent: Option<u32>, memory_limit_bytes: usize) -> Config {
    Config { gc_percent, memory_limit_bytes, ..support::manual() }
}

/// Bytes that count against the memory limit.
fn counted(heap: &Heap) -> usize {
    let stats = heap.stats();
    stats.check().unwrap_or_else(|error| panic!("{error}"));
    (stats.mapped_bytes + stats.external_bytes) as usize
}

/// Makes `bytes` of garbage, and polls.
fn churn(m: &Mutator, bytes: usize) {
    for _ in 0..bytes / 8000 {
        block(m, 8000, NONE).unwrap();
        m.poll();
    }
}

#[test]
fn memory_stays_below_the_limit_whatever_the_percentage() {
    // The origin's MemoryLimit and MemoryLimitNoGCPercent: what lives goes in steps from
    // 10 to 70 percent of the limit.
    const LIMIT: usize = 128 * MIB;
    for gc_percent in [None, Some(100), Some(1000)] {
        let heap = support::heap_with(limited(gc_percent, LIMIT));
        let m = heap.attach().unwrap();
        for percent in [10, 30, 50, 70, 40, 10] {
            let count = LIMIT / 100 * percent / 8000;
            m.truncate_roots(m.root_count().min(count));
            let mut most = 0;
            while m.root_count() < count {
                kept(&m, 8000, NONE).unwrap();
                m.poll();
            }
            for _ in 0..40 {
                churn(&m, 8 * MIB);
                most = most.max(counted(&heap));
            }
            // A span taken just before the boundary.
            assert!(most <= LIMIT + MIB, "{most} at {percent} percent, {gc_percent:?}");
        }
        let stats = heap.stats();
        assert!(stats.num_gc > 6, "{} cycles", stats.num_gc);
        assert_eq!(stats.memory_limit, LIMIT as u64);
        assert_eq!(stats.limit_errors, 0, "a soft limit refuses nothing");
    }
}

#[test]
fn external_bytes_and_tables_count() {
    const LIMIT: usize = 64 * MIB;
    let heap = support::heap_with(limited(None, LIMIT));
    let m = heap.attach().unwrap();
    let outside = heap.external(40 * MIB);
    churn(&m, 200 * MIB);
    assert!(counted(&heap) <= LIMIT + MIB, "{}", counted(&heap));
    assert!(heap.stats().num_gc > 4);
    drop(outside);
    let before = heap.stats().num_gc;
    churn(&m, 40 * MIB);
    assert!(heap.stats().num_gc <= before + 1, "the room is the heap's again");
    assert!(counted(&heap) <= LIMIT + MIB);
}

#[test]
fn a_lowered_limit_is_kept_from_the_next_boundary_on() {
    let heap = support::heap_with(limited(None, usize::MAX));
    let m = heap.attach().unwrap();
    for _ in 0..64 {
        kept(&m, MIB, NONE).unwrap();
    }
    m.truncate_roots(8);
    assert_eq!(heap.set_memory_limit_bytes(24 * MIB), usize::MAX);
    assert_eq!(heap.memory_limit_bytes(), 24 * MIB);
    m.poll();
    assert_eq!(heap.stats().num_gc, 1);
    assert!(counted(&heap) <= 24 * MIB, "{}", counted(&heap));
    assert!(heap.stats().scavenged_bytes >= 40 * MIB as u64);
    // Raised again it lets the heap grow, and nothing is due.
    assert_eq!(heap.set_memory_limit_bytes(200 * MIB), 24 * MIB);
    churn(&m, 100 * MIB);
    assert_eq!(heap.stats().num_gc, 1);
    assert!(counted(&heap) > 100 * MIB);
    assert_eq!(heap.set_memory_limit_bytes(usize::MAX), 200 * MIB);
    assert_eq!(heap.pace().trigger_bytes, u64::MAX);
}

#[test]
fn free_pages_are_given_back_before_others_are_taken() {
    // Half of the heap is free in pieces too small for what comes next.
    const LIMIT: usize = 64 * MIB;
    let heap = support::heap_with(Config { background: false, ..limited(None, LIMIT) });
    let m = heap.attach().unwrap();
    let mut kept_roots = Vec::new();
    for index in 0..40 {
        let object = m.mallocgc(MIB, mallocgc::raw::Layout::NOSCAN, NONE).unwrap();
        if index % 2 == 0 {
            kept_roots.push(heap.root(object).unwrap());
        }
    }
    m.gc(Force::NowAndSweep).unwrap();
    for _ in 0..8 {
        // Fits into no hole.
        kept(&m, 3 * MIB, NONE).unwrap();
        assert!(counted(&heap) <= LIMIT + MIB, "{}", counted(&heap));
        m.poll();
    }
    assert!(heap.stats().scavenged_bytes > 0);
}

#[test]
fn more_alive_than_the_limit_allows_is_slow_and_no_more() {
    // What lives is half as much again as the limit. Every cycle is in vain.
    const LIMIT: usize = 32 * MIB;
    let log = Log::default();
    // A cycle that verifies takes so long that in the same time all addresses are used up.
    let config = Config { trace_level: 1, verify: false, ..limited(None, LIMIT) };
    let heap = support::heap_with(log.of(config));
    let m = heap.attach().unwrap();
    let node = heap.layout(&mallocgc::raw::TypeLayout::mask(4, 0b1)).unwrap();
    let class = m.alloc_class(32, node).unwrap();
    let begin = Instant::now();
    let mut live = 0;
    while live < LIMIT * 3 / 2 {
        m.push_root(m.alloc(class).unwrap());
        live += 32;
        m.poll();
    }
    // Until the cap has bitten, some times: no machine is so fast that it never does.
    let mut rounds = 0;
    while heap.stats().limiter_held_cycles < 3 {
        churn(&m, MIB);
        rounds += 1;
        assert!(rounds < 1_000_000, "the cap never bit");
    }
    let passed = begin.elapsed().as_nanos() as u64;
    let stats = heap.stats();
    stats.check().unwrap();
    assert!(stats.limiter_last_cycle > 0);
    assert!(counted(&heap) > LIMIT, "what lives stays, and memory passes the limit");
    // Half of the time, and once the bucket of a second: all by the heap's own clock, so
    // this holds on any machine.
    let longest = heap.pause_histogram().max();
    let most = passed / 2 + 1_000_000_000 + longest;
    assert!(stats.pause_total_nanos <= most, "{} of {passed}", stats.pause_total_nanos);
    assert!(stats.limiter_held_nanos > 0);
    let held = log.lines().iter().filter(|line| line.contains(", held ")).count();
    assert!(held >= 2, "{held} lines tell that the cap bit");
    assert!(log.lines().iter().any(|line| line.contains(", limit 32.0 MiB")));
    // Room again: the cap lets go, at the latest when as much time has passed as the last
    // cycle took.
    m.truncate_roots(0);
    m.gc(Force::NowAndSweep).unwrap();
    let mut rounds = 0;
    loop {
        churn(&m, 2 * LIMIT);
        if counted(&heap) <= LIMIT + MIB {
            break;
        }
        rounds += 1;
        assert!(rounds < 200, "{} of {LIMIT}", counted(&heap));
    }
}

#[test]
fn limits_of_next_to_nothing_refuse_nothing() {
    for limit in [0, 1, 4096, MIB] {
        for gc_percent in [None, Some(100)] {
            let heap = support::heap_with(limited(gc_percent, limit));
            let m = heap.attach().unwrap();
            for _ in 0..100 {
                kept(&m, 8000, NONE).unwrap();
            }
            churn(&m, 2 * MIB);
            assert_eq!(heap.stats().memory_limit, limit as u64);
            assert_eq!(m.verify().unwrap(), None);
        }
    }
    assert_eq!(support::heap().stats().memory_limit, u64::MAX);
}

#[test]
fn a_system_that_takes_nothing_back_does_no_harm() {
    let heap = support::heap_with(limited(None, usize::MAX));
    let m = heap.attach().unwrap();
    for _ in 0..32 {
        kept(&m, MIB, NONE).unwrap();
    }
    m.truncate_roots(0);
    m.gc(Force::NowAndSweep).unwrap();
    let guard = fault::fail_from(1);
    heap.set_memory_limit_bytes(8 * MIB);
    churn(&m, 16 * MIB);
    assert_eq!(heap.release_memory(), 0);
    drop(guard);
    let before = heap.stats().scavenged_bytes;
    let given = heap.release_memory();
    assert!(given > 0);
    assert!(heap.stats().scavenged_bytes >= before + given as u64);
    assert!(counted(&heap) <= 8 * MIB, "{}", counted(&heap));
}
