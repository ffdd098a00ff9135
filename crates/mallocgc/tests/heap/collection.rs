//! When and how the heap is collected.

use crate::support::memory::{
    fill, inside, is_filled, link, number, object, reference, set_word, unlink, word,
};
use crate::support::{self, find, find_at};
use mallocgc::layout::TypeLayout;
use mallocgc::raw::{AllocFlags, Config, Force, Layout, RangeKind, RootVisitor};
use std::sync::Barrier;

fn automatic() -> Config {
    // Cycles are counted below, so none at every n-th boundary.
    Config { gc_percent: Some(100), ..support::manual() }
}

#[test]
fn a_forced_collection_runs_with_automatic_collection_off() {
    // The origin's TestUserForcedGC; in the seed this was a no-op.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for _ in 0..(32 << 20) / 4096 {
        m.mallocgc(4096, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap();
        m.poll();
    }
    assert_eq!(heap.stats().num_gc, 0, "automatic collection is off");
    m.gc(Force::IfNeeded).unwrap();
    assert_eq!(heap.stats().num_gc, 0, "nothing is ever due");
    m.gc(Force::Now).unwrap();
    let stats = heap.stats();
    assert_eq!((stats.num_gc, stats.num_forced_gc, stats.live_bytes), (1, 1, 0));
    m.gc(Force::NowAndSweep).unwrap();
    drop(m);
    heap.gc(Force::Now).unwrap();
    assert_eq!(heap.stats().num_forced_gc, 3);
    assert_eq!(heap.stats().heap_objects, 0);
}

#[test]
fn reaching_the_trigger_collects_at_the_next_boundary() {
    let heap = support::heap_with(automatic());
    let m = heap.attach().unwrap();
    let mut largest = 0;
    for _ in 0..400_000 {
        m.mallocgc(128, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        m.poll();
        largest = largest.max(heap.stats().heap_alloc);
    }
    let stats = heap.stats();
    let cycles = stats.num_gc;
    // 51 MB at 4 MiB a cycle; whole spans are counted when they are taken.
    assert!((10..=14).contains(&cycles), "{cycles} cycles");
    assert_eq!(stats.num_forced_gc, 0);
    // Never past the goal by more than what a boundary may miss.
    assert!(largest <= (4 << 20) + (256 << 10), "{largest} bytes");
}

#[test]
fn allocation_alone_never_collects() {
    let heap = support::heap_with(automatic());
    let m = heap.attach().unwrap();
    for size in [16, 4096, 100_000] {
        for _ in 0..(16 << 20) / size {
            m.mallocgc(size, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap();
        }
    }
    assert_eq!(heap.stats().num_gc, 0);
    m.poll();
    assert_eq!(heap.stats().num_gc, 1, "the boundary does");
    m.poll();
    assert_eq!(heap.stats().num_gc, 1, "once");
    for _ in 0..(16 << 20) / 4096 {
        m.mallocgc(4096, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap();
    }
    m.mallocgc(16, Layout::NOSCAN, AllocFlags::SAFEPOINT).unwrap();
    assert_eq!(heap.stats().num_gc, 2, "an allocation that is a boundary does");
}

#[test]
fn two_threads_crossing_the_trigger_cause_one_cycle() {
    for _ in 0..20 {
        let heap = support::heap_with(automatic());
        let (filled, polled) = (Barrier::new(4), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut m = heap.attach().unwrap();
                    for _ in 0..300 {
                        m.mallocgc(8192, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap();
                    }
                    m.blocking(|| filled.wait());
                    m.gc(Force::IfNeeded).unwrap();
                    m.poll();
                    m.blocking(|| polled.wait());
                });
            }
        });
        assert_eq!(heap.stats().num_gc, 1, "the losers of the race look again");
    }
}

#[test]
fn growth_is_in_percent_of_what_lives() {
    for (percent, live_mib) in [(50, 16), (100, 16), (200, 8)] {
        let heap = support::heap_with(Config { gc_percent: Some(percent), ..automatic() });
        let m = heap.attach().unwrap();
        // No large objects: those may be collected earlier (`docs/divergences.md`).
        for _ in 0..live_mib * 64 {
            m.push_root(m.mallocgc(16 << 10, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap());
        }
        m.gc(Force::Now).unwrap();
        let live = live_mib << 20;
        assert_eq!(heap.stats().live_bytes, live);
        let growth = live * u64::from(percent) / 100;
        assert_eq!(heap.stats().next_gc, live + growth);
        let cycles = heap.stats().num_gc;
        for _ in 0..4 * growth / (16 << 10) {
            m.mallocgc(16 << 10, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap();
            m.poll();
        }
        let cycles = heap.stats().num_gc - cycles;
        assert!((3..=4).contains(&cycles), "{cycles} cycles at {percent} percent");
    }
}

/// Builds a list and returns its first node: word 0 is a number, word 1 the next.
fn list(m: &mallocgc::raw::Mutator, layout: Layout, length: usize) -> usize {
    let class = m.alloc_class(16, layout).unwrap();
    let mut first = m.alloc(class).unwrap();
    set_word(first, 0, 0);
    for index in 1..length {
        let next = m.alloc(class).unwrap();
        set_word(next, 0, index);
        link(m, next, 1, first);
        first = next;
    }
    number(first)
}

#[test]
fn a_list_of_ten_million_overflows_nothing() {
    let length = support::scaled(10_000_000);
    for workers in [1, 2] {
        let heap = support::heap_with(Config { workers, ..support::manual() });
        let m = heap.attach().unwrap();
        let node = heap.layout(&TypeLayout::mask(2, 0b10)).unwrap();
        let first = list(&m, node, length);
        m.push_root(object(first));
        let before = heap.stats().gc_sys;
        m.gc(Force::Now).unwrap();
        let stats = heap.stats();
        assert_eq!(stats.live_bytes, 16 * length as u64);
        assert!(stats.gc_sys - before < 4 << 20, "a list keeps one object grey at a time");
        let mut at = object(first);
        for expected in (1..length).rev() {
            assert_eq!(word(at, 0), expected);
            at = reference(at, 1).expect("the list goes on");
        }
        // Cut in the middle: the rest goes.
        let mut middle = object(first);
        for _ in 0..1000 {
            middle = reference(middle, 1).unwrap();
        }
        unlink(&m, middle, 1);
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(heap.stats().heap_objects, 1001);
    }
}

#[test]
fn wide_and_deep_trees_are_marked_by_any_number_of_workers() {
    for workers in [1, 2, 4] {
        let heap = support::heap_with(Config { workers, ..support::manual() });
        let m = heap.attach().unwrap();
        let all = heap.layout(&TypeLayout::repeat(1, 1)).unwrap();
        let pair = heap.layout(&TypeLayout::mask(2, 0b11)).unwrap();
        // Each of 5,000 roots leads to a tree of 15; more grey objects at a
        // time than a segment of the mark stack holds.
        let class = m.alloc_class(16, pair).unwrap();
        for _ in 0..5000 {
            let nodes: Vec<_> = (0..15).map(|_| m.alloc(class).unwrap()).collect();
            for index in 0..7 {
                link(&m, nodes[index], 0, nodes[2 * index + 1]);
                link(&m, nodes[index], 1, nodes[2 * index + 2]);
            }
            m.push_root(nodes[0]);
        }
        // One array of 100,000 leads to as many.
        let array = m.mallocgc(800_000, all, AllocFlags::NONE).unwrap();
        m.push_root(array);
        for index in 0..100_000 {
            link(&m, array, index, m.alloc(class).unwrap());
        }
        let long = list(&m, pair, 1);
        link(&m, reference(array, 99_999).unwrap(), 1, object(long));
        for _ in 0..3 {
            m.gc(Force::NowAndSweep).unwrap();
            assert_eq!(heap.stats().heap_objects, 5000 * 15 + 100_000 + 2, "{workers} workers");
        }
        m.truncate_roots(100);
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(heap.stats().heap_objects, 1500, "{workers} workers");
    }
}

#[test]
fn cycles_of_references_die() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let pair = heap.layout(&TypeLayout::mask(2, 0b11)).unwrap();
    for length in [1usize, 2, 3, 1000] {
        let ring: Vec<_> = (0..length).map(|_| m.new_object(pair).unwrap()).collect();
        for index in 0..length {
            link(&m, ring[index], 0, ring[(index + 1) % length]);
            link(&m, ring[index], 1, ring[index]);
        }
        m.push_root(ring[length / 2]);
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(heap.stats().heap_objects, length as u64);
        m.truncate_roots(0);
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(heap.stats().heap_objects, 0);
    }
}

#[test]
fn deep_nesting_survives() {
    // The origin's TestGcDeepNesting: ten arrays of one element each.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let cell = heap.layout(&TypeLayout::repeat(1, 1)).unwrap();
    let last = m.mallocgc(8, Layout::NOSCAN, AllocFlags::NO_TINY).unwrap();
    set_word(last, 0, 100);
    let mut top = last;
    for _ in 0..10 {
        let outer = m.mallocgc(8, cell, AllocFlags::NONE).unwrap();
        link(&m, outer, 0, top);
        top = outer;
    }
    m.push_root(top);
    for _ in 0..5 {
        m.gc(Force::NowAndSweep).unwrap();
        let mut at = m.root(0);
        for _ in 0..10 {
            at = reference(at, 0).unwrap();
        }
        assert_eq!((at, word(at, 0)), (last, 100));
    }
}

#[test]
fn a_slice_of_an_array_keeps_the_array() {
    // The origin's TestGcArraySlice: only an interior pointer is left.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::mask(3, 0b101)).unwrap();
    let mut head = None;
    for step in 0..10usize {
        // A buffer of 32 bytes with a number at its start, seen from byte 7 on.
        let holder = m.new_object(node).unwrap();
        let buffer = m.mallocgc(32, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        fill(buffer, 32, step as u8 + 1);
        link(&m, holder, 0, inside(buffer, 7 + step));
        if let Some(previous) = head {
            link(&m, holder, 2, previous);
        }
        head = Some(holder);
        m.truncate_roots(0);
        m.push_root(holder);
        m.gc(Force::NowAndSweep).unwrap();
        let mut at = head;
        let mut expected = step as u8 + 1;
        while let Some(holder) = at {
            let view = reference(holder, 0).unwrap();
            let buffer = find(&heap, view).unwrap();
            assert!(is_filled(object(buffer.base.as_usize()), 32, expected));
            expected -= 1;
            at = reference(holder, 2);
        }
        assert_eq!(expected, 0);
    }
}

#[test]
fn interior_links_are_followed_again_and_again() {
    // The origin's TestGcRescan: nodes linked through the middle of each other.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::mask(5, 0b01010)).unwrap();
    for _ in 0..10 {
        let mut previous = None;
        for step in 0..1000usize {
            let made = m.new_object(node).unwrap();
            set_word(made, 4, step);
            if let Some(previous) = previous {
                link(&m, made, 1, inside(previous, 16));
                link(&m, made, 3, inside(made, 39));
            }
            previous = Some(made);
            m.truncate_roots(0);
            m.push_root(inside(made, 20));
            if step % 100 == 99 {
                m.gc(Force::Now).unwrap();
            }
        }
        let mut at = previous.unwrap();
        for step in (0..1000usize).rev() {
            assert_eq!(word(at, 4), step);
            match reference(at, 1) {
                Some(next) => at = object(number(next) - 16),
                None => assert_eq!(step, 0),
            }
        }
    }
}

#[test]
fn root_ranges_are_read() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let made: Vec<usize> = (0..16)
        .map(|_| number(m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap()))
        .collect();
    let exact: Vec<usize> = made[..4].iter().map(|&at| at + 5).chain([0, 0]).collect();
    let dead = number(m.mallocgc(128, Layout::NOSCAN, AllocFlags::NONE).unwrap());
    m.push_root(object(made[15]));
    // Ambiguous words may be anything.
    let ambiguous = [made[8], 7, usize::MAX, made[9] + 63, 1 << 47, dead + 5000, 0];
    // SAFETY: both arrays live to the end of the test and are not written.
    let ids = unsafe {
        [
            heap.add_root_range(exact.as_ptr(), exact.len(), RangeKind::References),
            heap.add_root_range(ambiguous.as_ptr(), ambiguous.len(), RangeKind::Ambiguous),
        ]
    };
    for _ in 0..3 {
        m.gc(Force::NowAndSweep).unwrap();
        for (index, &at) in made.iter().enumerate() {
            let kept = matches!(index, 0..4 | 8 | 9 | 15);
            assert_eq!(find_at(&heap, at).is_some(), kept, "object {index}");
        }
    }
    assert!(heap.remove_root_range(ids[1]));
    assert!(!heap.remove_root_range(ids[1]));
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 5);
    assert!(heap.remove_root_range(ids[0]));
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 1);
}

#[test]
fn a_root_callback_says_what_lives() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let made: Vec<usize> =
        (0..8).map(|_| number(m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap())).collect();
    let roots = made.clone();
    m.set_root_callback(Some(move |visitor: &mut RootVisitor<'_>| {
        visitor.visit(std::ptr::with_exposed_provenance(roots[0]));
        visitor.visit(std::ptr::null());
        visitor.visit_ambiguous(roots[1] + 63);
        visitor.visit_ambiguous(12);
        let range = &roots[2..4];
        // SAFETY: the slice is borrowed.
        unsafe { visitor.visit_range(range.as_ptr(), 2, RangeKind::References) };
    }))
    .unwrap();
    for _ in 0..3 {
        m.gc(Force::NowAndSweep).unwrap();
        for (index, &at) in made.iter().enumerate() {
            assert_eq!(find_at(&heap, at).is_some(), index < 4, "object {index}");
        }
    }
    m.set_root_callback(None::<fn(&mut RootVisitor<'_>)>).unwrap();
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 0);
}

#[test]
fn a_handle_that_is_set_keeps_the_other_object() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let one = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    let two = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    let root = heap.root(one).unwrap();
    root.set(two);
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!((find(&heap, one).is_some(), find(&heap, two).is_some()), (false, true));
    let copy = root.try_clone().unwrap();
    drop(root);
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(copy.get(), two);
    assert!(find(&heap, two).is_some());
    drop(copy);
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(find(&heap, two), None);
}

#[test]
#[cfg_attr(mallocgc_asan, ignore = "reads dead cells")]
fn dead_cells_are_overwritten_when_asked() {
    let config = Config { clobber: support::CLOBBER, ..support::manual() };
    let heap = support::heap_with(config);
    let m = heap.attach().unwrap();
    let mut dead = Vec::new();
    for size in [16, 48, 200, 1000, 8192] {
        let object = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        fill(object, size, 0x11);
        dead.push((object, size));
        // A neighbour keeps the span.
        m.push_root(m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap());
    }
    m.gc(Force::NowAndSweep).unwrap();
    for (object, size) in dead {
        assert_eq!(find(&heap, object), None);
        for index in 0..size / 8 {
            assert_eq!(word(object, index) as u64, support::CLOBBER, "{size} bytes");
        }
    }
    for index in 0..m.root_count() {
        assert_eq!(word(m.root(index), 0), 0, "the living are not touched");
    }
    for size in [16, 48, 200, 1000, 8192] {
        let object = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        assert!(is_filled(object, size, 0), "{size} bytes");
    }
}

#[test]
fn collecting_at_every_nth_boundary() {
    let heap = support::heap_with(Config { collect_every: 3, ..support::manual() });
    let m = heap.attach().unwrap();
    for _ in 0..30 {
        m.poll();
    }
    assert_eq!(heap.stats().num_gc, 10);
    for _ in 0..30 {
        m.mallocgc(100, Layout::NOSCAN, AllocFlags::SAFEPOINT).unwrap();
    }
    assert_eq!(heap.stats().num_gc, 20);
    for _ in 0..30 {
        m.mallocgc(100, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    }
    assert_eq!(heap.stats().num_gc, 20);
}

#[test]
fn garbage_is_swept_before_the_heap_grows() {
    // Lazy sweeping must find what a cycle freed, in the same and in other
    // classes, before it asks for more memory.
    let heap = support::heap_with(automatic());
    let m = heap.attach().unwrap();
    for round in 0..40usize {
        let size = [64, 100, 1000, 5000, 50_000][round % 5];
        for _ in 0..(4 << 20) / size {
            m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
            m.poll();
        }
    }
    let stats = heap.stats();
    assert!(stats.heap_sys <= 24 << 20, "{} bytes for 4 MiB at a time", stats.heap_sys);
}

#[test]
fn an_empty_heap_is_collected() {
    let heap = support::heap();
    heap.gc(Force::NowAndSweep).unwrap();
    heap.gc(Force::Now).unwrap();
    let m = heap.attach().unwrap();
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().num_gc, 3);
    heap.stats_at_rest().check().unwrap();
}
