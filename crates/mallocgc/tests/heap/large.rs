//! Large objects: more than 32 KiB, a span each.

use crate::support::memory::{inside, is_filled, link, number, set_word, word};
use crate::support::{self, find, find_at};
use mallocgc::layout::TypeLayout;
use mallocgc::raw::{AllocFlags, Config, Force, Layout};
use std::time::{Duration, Instant};

#[test]
fn sizes_round_up_to_pages() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::repeat(3, 0b101)).unwrap();
    for size in [32_769, 40_960, 40_961, 65_536, 100_001, 1 << 20, (5 << 20) + 3] {
        for layout in [Layout::NOSCAN, node] {
            let object = m.mallocgc(size, layout, AllocFlags::NONE).unwrap();
            assert!(number(object).is_multiple_of(8192));
            let found = find(&heap, object).unwrap();
            assert_eq!(found.bytes, size.next_multiple_of(8192));
            assert!(is_filled(object, found.bytes, 0));
            // Nothing beyond belongs to it.
            let beyond = find_at(&heap, number(object) + found.bytes);
            assert!(beyond.is_none_or(|beyond| beyond.base != found.base));
        }
    }
}

#[test]
fn any_interior_pointer_keeps_it() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let size = (3 << 20) + 100;
    for offset in [0, 1, 8191, 8192, 600 << 10, 2 << 20, size - 1] {
        let object = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        set_word(object, 1000, offset + 1);
        m.push_root(inside(object, offset));
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(find(&heap, object).map(|found| found.base.as_usize()), Some(number(object)));
        assert_eq!(word(object, 1000), offset + 1);
        m.truncate_roots(0);
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(find(&heap, object), None);
    }
}

#[test]
fn references_in_every_piece_are_read() {
    // Large arrays are scanned in pieces: every word about a border counts.
    for workers in [1, 3] {
        let heap = support::heap_with(Config { workers, ..support::manual() });
        let m = heap.attach().unwrap();
        let size: usize = 1 << 20;
        let words = size / 8;
        for shape in [TypeLayout::repeat(1, 1), TypeLayout::repeat(3, 0b010)] {
            let layout = heap.layout(&shape).unwrap();
            let array = m.mallocgc(size, layout, AllocFlags::NONE).unwrap();
            m.push_root(array);
            let mut probes = Vec::new();
            for border in (0..=words).step_by(1 << 14) {
                for index in border.saturating_sub(4)..(border + 4).min(words) {
                    let target = m.mallocgc(48, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                    link(&m, array, index, target);
                    probes.push((index, target));
                }
            }
            m.gc(Force::NowAndSweep).unwrap();
            for (index, target) in probes {
                assert_eq!(find(&heap, target).is_some(), shape.is_pointer(index), "{index}");
                set_word(array, index, 0);
            }
            m.truncate_roots(0);
        }
    }
}

#[test]
fn reused_pages_are_zeroed() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for round in 0..20usize {
        let size = (40_000 + round * 77_777) % 900_000 + 33_000;
        let object = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        assert!(is_filled(object, size.next_multiple_of(8192), 0), "round {round}");
        crate::support::memory::fill(object, size.next_multiple_of(8192), 0xff);
        m.gc(Force::NowAndSweep).unwrap();
    }
    // Pages of small objects become those of a large one and the other way round.
    for round in 0..6 {
        for _ in 0..3000 {
            let small = m.mallocgc(160, Layout::NOSCAN, AllocFlags::NONE).unwrap();
            assert!(is_filled(small, 160, 0));
            crate::support::memory::fill(small, 160, 0xff);
        }
        m.gc(Force::NowAndSweep).unwrap();
        let object = m.mallocgc(400_000, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        assert!(is_filled(object, 400_000, 0), "round {round}");
        crate::support::memory::fill(object, 400_000, 0xff);
        m.gc(Force::NowAndSweep).unwrap();
    }
}

#[test]
#[cfg_attr(mallocgc_asan, ignore = "the sanitizer writes about every byte")]
fn a_gigabyte_of_fresh_memory_delays_nobody() {
    // Overwriting it when it is dead would take seconds.
    let heap = support::heap_with(Config { clobber: 0, ..support::manual() });
    let (ready, go) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut m = heap.attach().unwrap();
            m.blocking(|| ready.wait());
            // The best of a few: processors are shared with other tests.
            let best = (0..6)
                .map(|_| {
                    let begin = Instant::now();
                    let object = m.mallocgc(1 << 30, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                    assert_eq!(find(&heap, object).unwrap().bytes, 1 << 30);
                    begin.elapsed()
                })
                .min()
                .expect("six times");
            m.blocking(|| go.wait());
            // Clearing it would take more than 50 ms.
            assert!(best < Duration::from_millis(20), "{best:?}");
        });
        ready.wait();
        heap.gc(Force::Now).unwrap();
        go.wait();
    });
    heap.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 0);
}

/// Bytes of an object that are in memory, by the system's account.
#[cfg(target_os = "linux")]
fn resident_bytes(object: std::ptr::NonNull<u8>, size: usize) -> usize {
    use std::io::{Read, Seek, SeekFrom};
    const PAGE: usize = 4096;
    let mut map = std::fs::File::open("/proc/self/pagemap").unwrap();
    map.seek(SeekFrom::Start((number(object) / PAGE * 8) as u64)).unwrap();
    let mut entries = vec![0; size / PAGE * 8];
    map.read_exact(&mut entries).unwrap();
    // Bit 63 of an entry: the page is present.
    PAGE * entries.chunks_exact(8).filter(|entry| entry[7] >> 7 != 0).count()
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(mallocgc_asan, ignore = "the sanitizer writes about every byte")]
fn fresh_pages_beside_used_ones_are_not_touched() {
    const USED: usize = 16 << 20;
    const ALL: usize = 256 << 20;
    let heap = support::heap_with(Config { clobber: 0, ..support::manual() });
    let m = heap.attach().unwrap();
    let used = m.mallocgc(USED, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    crate::support::memory::fill(used, USED, 0xff);
    m.gc(Force::NowAndSweep).unwrap();
    let object = m.mallocgc(ALL, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    assert_eq!(object, used, "the heap's first run is as long as its range");
    let resident = resident_bytes(object, ALL);
    // What was in use, and a huge page that is touched to see what that takes.
    assert!((USED..=USED + (2 << 20)).contains(&resident), "{resident} bytes");
    assert!(is_filled(object, ALL, 0));
}

#[test]
fn a_freed_large_object_makes_room_for_the_next() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for _ in 0..200 {
        m.mallocgc(4 << 20, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap();
        m.gc(Force::Now).unwrap();
    }
    let stats = heap.stats();
    assert!(
        stats.heap_sys < 64 << 20,
        "{} bytes for one object of 4 MiB at a time",
        stats.heap_sys
    );
}
