//! Statistics: exact at rest, their sums hold, and they agree with a second count.

use crate::support::memory::{fill, link};
use crate::support::program::{Dice, Machine, Settings};
use crate::support::{self, Log, find};
use mallocgc::base::round_up_size;
use mallocgc::layout::TypeLayout;
use mallocgc::observe::Invariant;
use mallocgc::raw::{AllocFlags, Config, Force, GcError, Layout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

#[test]
fn every_field_is_sane() {
    // The origin's TestMemStats.
    let heap = support::heap();
    let fresh = heap.stats();
    fresh.check().unwrap();
    assert_eq!((fresh.mallocs, fresh.num_gc, fresh.heap_objects, fresh.last_gc), (0, 0, 0, 0));
    let mut m = heap.attach().unwrap();
    for size in [3, 5, 100, 4000, 100_000] {
        let object = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        m.push_root(object);
    }
    m.mallocgc(200, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    m.gc(Force::NowAndSweep).unwrap();
    let stats = m.blocking(|| heap.stats());
    stats.check().unwrap();
    assert_eq!(stats.mallocs, 6);
    assert_eq!(stats.frees, 2, "a joined tiny object is counted as freed, and the 200 bytes");
    assert_eq!(stats.heap_objects, 4);
    assert_eq!(stats.total_alloc, 16 + 112 + 4096 + 106_496 + 208);
    assert_eq!(stats.heap_alloc, 16 + 112 + 4096 + 106_496);
    assert_eq!(stats.live_bytes, stats.heap_alloc);
    assert_eq!((stats.num_gc, stats.num_forced_gc), (1, 1));
    assert_eq!(stats.mutators, 1);
    assert!(stats.sys >= stats.heap_sys && stats.heap_sys >= stats.heap_inuse);
    assert!(stats.heap_inuse >= stats.heap_alloc);
    for (name, value) in [
        ("span_inuse", stats.span_inuse),
        ("span_sys", stats.span_sys),
        ("cache_inuse", stats.cache_inuse),
        ("cache_sys", stats.cache_sys),
        ("gc_sys", stats.gc_sys),
        ("other_sys", stats.other_sys),
        ("last_gc", stats.last_gc),
        ("pause_total_nanos", stats.pause_total_nanos),
    ] {
        assert_ne!(value, 0, "{name}");
    }
    for (name, value) in [
        ("stack_inuse", stats.stack_inuse),
        ("stack_sys", stats.stack_sys),
        ("finalizers_queued", stats.finalizers_queued),
        ("cleanups_queued", stats.cleanups_queued),
        ("weak_handles", stats.weak_handles),
    ] {
        assert_eq!(value, 0, "{name}");
    }
}

#[test]
fn counts_agree_with_a_second_count() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::mask(2, 0b10)).unwrap();
    // Past the objects that share spans, whose cells are a word longer.
    while m.mallocgc(16, node, AllocFlags::NONE).map(|it| find(&heap, it).unwrap().bytes) != Ok(16)
    {
    }
    m.gc(Force::NowAndSweep).unwrap();
    let before = heap.stats();
    let (mut objects, mut bytes, mut kept, mut kept_bytes) = (0u64, 0u64, 0u64, 0u64);
    let mut state = 3u64;
    for _ in 0..30_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let size = 16 + (state >> 40) as usize % 3000;
        let size = if state >> 60 == 0 { size * 50 } else { size };
        let object = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        objects += 1;
        bytes += round_up_size(size) as u64;
        if state >> 50 & 7 == 0 {
            m.push_root(object);
            kept += 1;
            kept_bytes += round_up_size(size) as u64;
        }
        if objects.is_multiple_of(5000) {
            let now = heap.stats();
            now.check().unwrap();
            assert_eq!(now.mallocs - before.mallocs, objects);
            assert_eq!(now.total_alloc - before.total_alloc, bytes);
        }
    }
    m.gc(Force::NowAndSweep).unwrap();
    let after = heap.stats();
    after.check().unwrap();
    assert_eq!(after.heap_objects, kept);
    assert_eq!(after.heap_alloc, kept_bytes);
    assert_eq!(after.live_bytes, kept_bytes);
    assert_eq!(after.frees - before.frees, objects - kept);
    for class in &after.by_size {
        assert!(class.mallocs >= class.frees, "{class:?}");
    }
}

#[test]
fn counters_are_final_when_everything_is_swept() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for step in 0..50_000usize {
        let object = m.mallocgc(16 + step % 900, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        if step % 10 == 0 {
            m.push_root(object);
        }
    }
    m.gc(Force::NowAndSweep).unwrap();
    let swept = heap.stats();
    assert_eq!(swept.heap_objects, 5000);
    let classes = heap.span_statistics();
    let unswept: u64 = classes.classes.iter().map(|class| class.unswept_spans).sum();
    assert_eq!(unswept, 0, "an eager collection leaves nothing to sweep");
    let live: u64 = classes.classes.iter().map(|class| class.live_cells).sum();
    assert_eq!(live, 5000);
    // Collected without sweeping, the counts follow as spans are swept.
    m.truncate_roots(0);
    m.gc(Force::Now).unwrap();
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 0);
    assert_eq!(heap.stats().heap_inuse, 0);
}

#[test]
fn statistics_hold_after_random_programs() {
    for seed in 0..4 {
        let heap = support::heap_with(support::config());
        let settings = Settings { steps: support::scaled(3000), ..Settings::default() };
        Machine::new(&heap, format!("seed {seed}"), Dice::Seed(seed), settings).run();
        let stats = heap.stats();
        stats.check().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!((stats.heap_objects, stats.heap_alloc, stats.heap_inuse), (0, 0, 0));
        assert_eq!(stats.mutators, 0);
    }
}

#[test]
fn statistics_are_sane_beside_running_mutators() {
    let heap = support::heap_with(Config { min_heap_bytes: 1 << 20, ..support::config() });
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|number| {
                let heap = &heap;
                scope.spawn(move || {
                    let settings = Settings {
                        steps: support::scaled(6000),
                        alone: false,
                        ..Settings::default()
                    };
                    let name = format!("thread {number}");
                    Machine::new(heap, name, Dice::Seed(number), settings).run();
                })
            })
            .collect();
        scope.spawn(|| {
            let mut last = heap.stats();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let now = heap.stats();
                assert!(now.frees >= last.frees && now.num_gc >= last.num_gc);
                assert!(now.pause_total_nanos >= last.pause_total_nanos);
                assert!(now.heap_sys >= now.heap_inuse);
                last = now;
                std::thread::yield_now();
            }
        });
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        results.into_iter().for_each(|result| result.unwrap());
    });
    heap.stats_at_rest().check().unwrap();
}

#[test]
fn no_class_frees_more_than_it_allocated_beside_running_mutators() {
    let heap = support::heap_with(Config { min_heap_bytes: 256 << 10, ..support::config() });
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for first in [1, 5] {
            let (heap, done) = (&heap, &done);
            scope.spawn(move || {
                let m = heap.attach().unwrap();
                let mut step: usize = first;
                while !done.load(Relaxed) {
                    // Most of it garbage at once; large objects, too.
                    let size = if step.is_multiple_of(500) { 50_000 } else { 1 + step % 300 };
                    m.mallocgc(size, Layout::NOSCAN, AllocFlags::SAFEPOINT).unwrap();
                    step += 7;
                }
            });
        }
        let reader = scope.spawn(|| {
            let mut reading = 0;
            while reading < support::scaled(10_000) || heap.stats().num_gc < 3 {
                let stats = heap.stats();
                for class in &stats.by_size {
                    assert!(class.frees <= class.mallocs, "reading {reading}: {class:?}");
                }
                assert!(stats.heap_alloc < 1 << 30, "reading {reading}: {}", stats.heap_alloc);
                match stats.check() {
                    Err(error) if error.invariant == Invariant::HeapInuse => {}
                    result => result.unwrap_or_else(|error| panic!("reading {reading}: {error}")),
                }
                // Now and then from other moments of the mutators'.
                if reading % 64 == 0 {
                    std::thread::yield_now();
                }
                reading += 1;
            }
        });
        let result = reader.join();
        done.store(true, Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    heap.stats_at_rest().check().unwrap();
}

#[test]
fn pages_in_use_are_those_of_the_spans() {
    // The origin's TestPageAccounting: 64 MiB in steps of 64 KiB.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for step in 1..=1024u64 {
        let object = m.mallocgc(64 << 10, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap();
        if step.is_multiple_of(2) {
            m.push_root(object);
        }
        if step.is_multiple_of(64) {
            m.gc(Force::NowAndSweep).unwrap();
            let stats = heap.stats();
            assert_eq!(stats.heap_inuse, step / 2 * (64 << 10));
            let walked: u64 =
                heap.span_statistics().classes.iter().map(|class| class.span_bytes).sum();
            assert_eq!(stats.heap_inuse, walked);
            stats.check().unwrap();
        }
    }
}

#[test]
fn churn_does_not_grow_the_heap() {
    // The origin's TestGcSys: 100,000 objects of 1029 bytes.
    let heap = support::heap_with(support::config());
    let m = heap.attach().unwrap();
    m.poll();
    let before = heap.stats().sys;
    for _ in 0..support::scaled(100_000) {
        let object = m.mallocgc(1029, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        fill(object, 1029, 1);
        m.poll();
    }
    let grown = heap.stats().sys.saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
}

#[test]
fn the_last_collection_ended_between_two_looks_at_the_clock() {
    // The origin's TestGcLastTime.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let before = mallocgc::os::wall_clock_nanos();
    m.gc(Force::Now).unwrap();
    let after = mallocgc::os::wall_clock_nanos();
    let last = heap.stats().last_gc;
    assert!(before <= last && last <= after, "{before} <= {last} <= {after}");
    let pauses = heap.stats().pauses;
    assert_eq!(pauses.newest().unwrap().end_nanos, last);
    let stats = heap.stats();
    assert_eq!(stats.pause_total_nanos, stats.pauses.newest().unwrap().nanos);
    assert_eq!(heap.pause_histogram().count(), 1);
}

#[test]
fn a_traced_cycle_prints_one_line() {
    let log = Log::default();
    let config = Config { trace_level: 1, ..support::manual() };
    let heap = support::heap_with(log.of(config));
    let m = heap.attach().unwrap();
    for cycle in 1..=3usize {
        m.mallocgc(100_000, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        m.gc(Force::Now).unwrap();
        let lines = log.lines();
        assert_eq!(lines.len(), cycle, "{lines:?}");
        assert!(lines[cycle - 1].starts_with(&format!("gc {cycle} @")), "{lines:?}");
        assert!(lines[cycle - 1].contains("forced"), "{lines:?}");
    }
}

#[test]
fn level_2_adds_a_whole_line_for_each_class() {
    let log = Log::default();
    let heap = support::heap_with(log.of(Config { trace_level: 2, ..support::manual() }));
    let m = heap.attach().unwrap();
    for size in [100, 100, 3000, 100_000] {
        m.push_root(m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap());
    }
    m.gc(Force::Now).unwrap();
    let lines = log.lines();
    assert!(lines[0].starts_with("gc 1 @") && lines[0].ends_with("(forced)"), "{lines:?}");
    let starts = [
        "gc 1   class   112 B: 1 spans 0.01 MiB, ",
        "gc 1   class  3072 B: 1 spans ",
        "gc 1   class   large: 1 spans 0.10 MiB, 1 cells, 1 live (100%), ",
        "gc 1   all classes: 3 spans ",
    ];
    assert_eq!(lines.len(), 1 + starts.len(), "{lines:#?}");
    for (line, start) in lines[1..].iter().zip(starts) {
        assert!(line.starts_with(start) && line.ends_with(" unswept"), "{line:?}");
        assert!(!line.contains('\n'), "{line:?}");
    }
}

#[test]
fn a_log_function_that_panics_harms_nothing_but_its_line() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let config = Config {
        trace_level: 2,
        stop_limit: Duration::from_millis(10),
        log: Arc::new(move |_| {
            counted.fetch_add(1, Relaxed);
            panic!("the log panics");
        }),
        ..support::manual()
    };
    let heap = support::heap_with(config);
    let m = heap.attach().unwrap();
    for cycle in 1..=3 {
        let object = m.mallocgc(100, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        m.push_root(object);
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(calls.load(Relaxed), 3 * cycle, "the cycle, the class, the sum");
        assert!(find(&heap, object).is_some());
        m.mallocgc(100, Layout::NOSCAN, AllocFlags::SAFEPOINT).unwrap();
        m.poll();
        heap.stats().check().unwrap();
    }
    // The message that a cycle is put off, too.
    let stuck = heap.clone();
    let put_off = std::thread::spawn(move || stuck.gc(Force::Now)).join().unwrap();
    assert!(matches!(put_off, Err(GcError::StopTimedOut(_))));
    assert_eq!(calls.load(Relaxed), 10);
    m.gc(Force::NowAndSweep).unwrap();
    assert!(m.verify().unwrap().is_none());
}

#[test]
fn live_bytes_trigger_and_goal_are_published() {
    let heap = support::heap_with(Config { gc_percent: Some(100), ..support::manual() });
    let m = heap.attach().unwrap();
    assert_eq!(heap.stats().next_gc, 4 << 20);
    let node = heap.layout(&TypeLayout::repeat(1, 1)).unwrap();
    let holder = m.mallocgc(8 << 10, node, AllocFlags::NONE).unwrap();
    m.push_root(holder);
    for index in 0..100 {
        let object = m.mallocgc(100_000, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap();
        link(&m, holder, index, object);
    }
    m.gc(Force::Now).unwrap();
    let stats = heap.stats();
    let live = 100 * 106_496 + 8192;
    assert_eq!(stats.live_bytes, live);
    assert_eq!(stats.next_gc, 2 * live);
    assert!(stats.trigger >= live + (stats.next_gc - live) * 7 / 10);
    assert!(stats.trigger <= stats.next_gc);
    assert!(stats.enable_gc);
    assert!(!support::heap().stats().enable_gc);
    assert_eq!(support::heap().stats().trigger, u64::MAX);
}
