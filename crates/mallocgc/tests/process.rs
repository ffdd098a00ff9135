//! What a heap takes from the process and gives back: mappings, threads,
//! descriptors, resident memory. Alone in its process, one test at a time.

mod support;

use mallocgc::layout::TypeLayout;
use mallocgc::os::{self, census::Census};
use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use support::memory::{fill, link, number};

fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Makes a heap, uses a bit of everything, drops it.
fn one_heap(number_of: usize) {
    // Two thirds have threads of their own.
    let config = Config {
        background: !number_of.is_multiple_of(3),
        workers: 1 + number_of % 2,
        reserve_bytes: 1 << 30,
        ..support::manual()
    };
    let heap = support::heap_with(config);
    let node = heap.layout(&TypeLayout::mask(2, 0b10)).unwrap();
    let m = heap.attach().unwrap();
    let root = heap.root(m.new_object(node).unwrap()).unwrap();
    for size in [1, 16, 100, 3000, 50_000] {
        let object = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        m.push_root(object);
    }
    link(&m, root.get(), 1, m.root(2));
    if number_of.is_multiple_of(50) {
        let other = heap.clone();
        let allocate = move || {
            let m = other.attach().unwrap();
            m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        };
        std::thread::spawn(allocate).join().unwrap();
    }
    m.gc(Force::NowAndSweep).unwrap();
    // The parts go in any order.
    match number_of % 3 {
        0 => drop((root, m, heap)),
        1 => drop((heap, m, root)),
        _ => drop((m, heap, root)),
    }
}

#[test]
fn a_thousand_heaps_leave_nothing_behind() {
    let _turn = alone();
    for number_of in 0..6 {
        one_heap(number_of);
    }
    let before = Census::take().unwrap();
    for number_of in 0..1000 {
        one_heap(number_of);
    }
    // Threads that were told to end are given a moment.
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let after = Census::take().unwrap();
        let clean = after.threads <= before.threads
            && after.descriptors <= before.descriptors
            && after.mappings <= before.mappings + 32
            && after.mapped_bytes <= before.mapped_bytes + (16 << 30);
        if clean {
            break;
        }
        assert!(Instant::now() < until, "{before:?}, then {after:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn many_heaps_at_a_time_are_apart() {
    let _turn = alone();
    let heaps: Vec<Heap> = (0..40)
        .map(|_| {
            support::heap_with(Config {
                background: false,
                reserve_bytes: 1 << 30,
                ..support::manual()
            })
        })
        .collect();
    let mut kept = Vec::new();
    let mutators: Vec<_> = heaps.iter().map(|heap| heap.attach().unwrap()).collect();
    for (index, m) in mutators.iter().enumerate() {
        for _ in 0..=index {
            let object = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
            m.push_root(object);
            kept.push((index, number(object)));
        }
    }
    for (index, address) in kept {
        for (other, heap) in heaps.iter().enumerate() {
            assert_eq!(support::find_at(heap, address).is_some(), other == index);
        }
    }
    for (index, m) in mutators.iter().enumerate() {
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(heaps[index].stats().heap_objects, index as u64 + 1);
        assert_eq!(heaps[index].stats().num_gc, 1, "nobody else's collection counts");
    }
}

/// Threads of heaps, by their names: the test harness starts and ends its own at
/// any time.
fn heap_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("mallocgc-")).count()
}

#[test]
fn no_thread_is_started_before_it_is_needed() {
    let _turn = alone();
    let before = heap_threads();
    let heap = support::heap_with(Config { background: false, workers: 1, ..support::manual() });
    let m = heap.attach().unwrap();
    for _ in 0..1000 {
        m.mallocgc(1000, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    }
    m.gc(Force::Now).unwrap();
    assert_eq!(heap_threads(), before);
}

#[test]
#[cfg_attr(mallocgc_asan, ignore = "the sanitizer writes about every byte")]
fn memory_never_touched_is_not_cleared() {
    // 384 MiB of zeroed objects of fresh memory cost next to no pages.
    let _turn = alone();
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let before = os::resident_bytes();
    for _ in 0..4 {
        m.mallocgc(64 << 20, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    }
    for _ in 0..128 << 10 {
        m.mallocgc(1024, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    }
    let grown = os::resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes became resident");
}

#[test]
fn released_memory_goes_back_to_the_system() {
    // The origin's TestFreeOSMemory: 32 MiB dropped, at least 16 released.
    let _turn = alone();
    let heap = support::heap_with(Config { background: false, ..support::manual() });
    let m = heap.attach().unwrap();
    let big = m.mallocgc(32 << 20, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    fill(big, 32 << 20, 1);
    let during = os::resident_bytes();
    m.gc(Force::NowAndSweep).unwrap();
    let released_before = heap.stats().heap_released;
    heap.release_memory();
    let stats = heap.stats();
    assert!(stats.heap_released >= released_before + (16 << 20), "{}", stats.heap_released);
    let now = os::resident_bytes();
    assert!(now + (24 << 20) < during, "{during} bytes resident, then {now}");
    stats.check().unwrap();
    // What was given back reads as zero when it comes again.
    let again = m.mallocgc(32 << 20, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    assert!(support::memory::is_filled(again, 32 << 20, 0));
}

#[test]
#[cfg_attr(mallocgc_asan, ignore = "the sanitizer's shadow of what was touched stays resident")]
fn holes_are_used_before_fresh_memory() {
    // The origin's GCPhys: 32 MiB in blocks of 64 KiB, every other freed, then
    // one of 16 MiB: what is resident stays near what is live.
    let _turn = alone();
    let heap =
        support::heap_with(Config { background: false, huge_pages: false, ..support::manual() });
    let m = heap.attach().unwrap();
    let before = os::resident_bytes();
    for index in 0..512 {
        let block = m.mallocgc(64 << 10, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        fill(block, 64 << 10, 1);
        if index % 2 == 0 {
            m.push_root(block);
        }
    }
    m.gc(Force::NowAndSweep).unwrap();
    heap.release_memory();
    let big = m.mallocgc(16 << 20, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    fill(big, 16 << 20, 1);
    m.push_root(big);
    let live = 32 << 20;
    let resident = os::resident_bytes().saturating_sub(before);
    assert!(resident < live + live / 10 + (2 << 20), "{resident} bytes for {live}");
}

#[test]
fn holes_that_nobody_uses_go_back_after_some_cycles() {
    // Three quarters of the pages of 4 KiB hold no survivor, hardly a span none.
    let _turn = alone();
    // Dead cells are not written.
    let config = Config { background: false, huge_pages: false, clobber: 0, ..support::manual() };
    let heap = support::heap_with(config);
    let m = heap.attach().unwrap();
    let before = os::resident_bytes();
    for index in 0..16 << 10 {
        let block = m.mallocgc(2048, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        fill(block, 2048, 1);
        if index % 8 == 0 {
            m.push_root(block);
        }
    }
    let resident = || os::resident_bytes().saturating_sub(before);
    let full = resident();
    for _ in 0..12 {
        m.gc(Force::NowAndSweep).unwrap();
    }
    heap.release_memory();
    assert!(resident() < full / 2, "{} of {full} bytes", resident());
}

#[test]
fn memory_goes_back_by_itself_soon_after_a_spike() {
    let _turn = alone();
    for force in [Force::Now, Force::NowAndSweep] {
        let heap = support::heap_with(Config { background: true, ..support::manual() });
        let m = heap.attach().unwrap();
        let before = os::resident_bytes();
        for _ in 0..64 {
            let block = m.mallocgc(2 << 20, Layout::NOSCAN, AllocFlags::NONE).unwrap();
            fill(block, 2 << 20, 1);
            m.push_root(block);
        }
        m.truncate_roots(0);
        m.gc(force).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while os::resident_bytes() > before + (50 << 20) {
            assert!(Instant::now() < until, "{force:?}: {} bytes", os::resident_bytes());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
