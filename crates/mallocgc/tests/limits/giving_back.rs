//! Memory given back: after a spike, on request, and not while it is in use again and again.

use crate::support;
use crate::{MIB, block, kept};
use mallocgc::os::{self, fault};
use mallocgc::raw::{AllocFlags, Config, Force, Heap, TypeLayout};
use std::time::Duration;

const NONE: AllocFlags = AllocFlags::NONE;

/// Waits until `done` holds; a machine that is busy with other tests may take its time.
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not after a minute");
}

/// Bytes of pages with memory behind them, or in spans.
fn page_bytes(heap: &Heap) -> usize {
    // Somebody may be sweeping: not every relation holds.
    let stats = heap.stats();
    (stats.heap_sys - stats.heap_released) as usize
}

#[test]
fn a_spike_is_given_back_after_one_collection() {
    let heap = support::heap_with(support::manual());
    let mut m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::mask(8, 0b1)).unwrap();
    let class = m.alloc_class(64, node).unwrap();
    // Lists of a mebibyte: 256 in the spike, 64 stay.
    for _ in 0..256 {
        let mut head = std::ptr::null_mut();
        for _ in 0..MIB / 64 {
            let object = m.alloc(class).unwrap();
            // SAFETY: the first word is a reference.
            unsafe { m.write(object.as_ptr().cast(), head) };
            head = object.as_ptr();
        }
        m.push_root(std::ptr::NonNull::new(head).unwrap());
    }
    m.truncate_roots(64);
    let before = heap.stats();
    m.gc(Force::Now).unwrap();
    let live = heap.stats().live_bytes as usize;
    assert_eq!(live, 64 * MIB);
    m.blocking(|| {
        wait_until("within an eighth of what lives", || page_bytes(&heap) <= live + live / 8)
    });
    let after = heap.stats();
    assert!(after.scavenged_bytes - before.scavenged_bytes >= 180 * MIB as u64);
    assert!(after.scavenge_cpu_nanos > 0);
    // What is given back reads as zero, and its spans have no survivors of old.
    assert_eq!(m.verify().unwrap(), None);
    for _ in 0..192 * MIB / 64 {
        let object = m.alloc(class).unwrap();
        assert!(support::memory::is_filled(object, 64, 0));
    }
    assert_eq!(m.verify().unwrap(), None);
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().live_bytes as usize, live);
}

#[test]
fn a_steady_heap_keeps_its_pages() {
    // 32 MiB live, as much garbage between two cycles, again and again.
    let config = Config { gc_percent: Some(100), collect_every: 0, ..support::config() };
    let heap = support::heap_with(Config { verify: false, clobber: 0, ..config });
    let m = heap.attach().unwrap();
    for _ in 0..32 * 64 {
        kept(&m, 16 << 10, NONE).unwrap();
    }
    let turn = |bytes: usize| {
        for _ in 0..bytes / (16 << 10) {
            block(&m, 16 << 10, NONE).unwrap();
            m.poll();
        }
    };
    turn(512 * MIB);
    let before = heap.stats();
    turn(16 << 30);
    let after = heap.stats();
    assert!(after.num_gc - before.num_gc > 100, "{} cycles", after.num_gc - before.num_gc);
    let scavenged = after.scavenged_bytes - before.scavenged_bytes;
    // Were the thread that allocates asleep for more than a second, its garbage would go once.
    assert!(scavenged <= 64 * MIB as u64, "{scavenged} bytes of 16 GiB went and came back");
}

#[test]
fn release_memory_gives_everything_back_and_counts_it() {
    let heap = support::heap_with(Config { background: false, ..support::manual() });
    let m = heap.attach().unwrap();
    for _ in 0..64 {
        kept(&m, MIB, NONE).unwrap();
    }
    m.truncate_roots(1);
    m.gc(Force::Now).unwrap();
    let before = heap.stats();
    let given = heap.release_memory();
    let after = heap.stats();
    after.check().unwrap();
    assert!(given >= 63 * MIB, "{given}");
    assert_eq!(after.scavenged_bytes - before.scavenged_bytes, given as u64);
    assert_eq!(after.heap_released, after.heap_idle);
    assert_eq!(heap.release_memory(), 0, "there is no more");
    assert!(m.mallocgc(MIB, mallocgc::raw::Layout::NOSCAN, NONE).is_ok());
}

#[test]
fn every_refusal_on_the_way_leaves_a_heap_that_works() {
    let heap = support::heap_with(Config { background: false, ..support::manual() });
    let m = heap.attach().unwrap();
    for n in 1.. {
        for bytes in [8000, 40_000, 3 * MIB] {
            for _ in 0..16 * MIB / bytes {
                kept(&m, bytes, NONE).unwrap();
            }
        }
        m.truncate_roots(0);
        m.gc(Force::NowAndSweep).unwrap();
        let guard = fault::fail_nth(n);
        heap.release_memory();
        let failed = guard.failed();
        drop(guard);
        heap.release_memory();
        let stats = heap.stats();
        stats.check().unwrap();
        assert_eq!(stats.heap_released, stats.heap_idle, "call {n}");
        assert_eq!(m.verify().unwrap(), None, "call {n}");
        if failed == 0 {
            assert!(n > 3, "only {n} calls");
            break;
        }
    }
}

#[test]
fn resident_memory_follows() {
    // Resident is what the whole process has: only falls of much more than others use are asked for.
    let heap = support::heap_with(support::manual());
    let mut m = heap.attach().unwrap();
    for _ in 0..512 {
        let object = m.mallocgc(MIB, mallocgc::raw::Layout::NOSCAN, NONE).unwrap();
        support::memory::fill(object, MIB, 1);
        m.push_root(object);
    }
    let spike = os::resident_bytes();
    m.truncate_roots(16);
    m.gc(Force::Now).unwrap();
    m.blocking(|| {
        wait_until("resident memory falls", || os::resident_bytes() + 400 * MIB < spike);
    });
}
