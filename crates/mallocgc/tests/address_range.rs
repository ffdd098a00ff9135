//! Heaps where the system gives little address range (`ulimit -v`).

mod support;

use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
use std::process::Command;

/// Set for the processes that run under a limit.
const UNDER_LIMIT: &str = "MALLOCGC_TEST_UNDER_LIMIT";

#[test]
fn a_heap_under_a_limit_is_as_large_as_it_can_be() {
    if std::env::var_os(UNDER_LIMIT).is_none() {
        return;
    }
    let heap = Heap::new(Config::default()).expect("a heap");
    let m = heap.attach().expect("a mutator");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let m = heap.attach().expect("a second mutator");
            for _ in 0..10_000 {
                m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
            }
        });
    });
    let kept = m.mallocgc(8 << 20, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
    m.push_root(kept);
    m.gc(Force::NowAndSweep).expect("a cycle");
    assert_eq!(heap.stats().heap_objects, 1);
}

#[test]
#[cfg_attr(mallocgc_asan, ignore = "the sanitizer reserves terabytes")]
fn a_heap_fits_into_what_address_range_there_is() {
    let program = std::env::current_exe().expect("this test");
    let gib = 1 << 20;
    for kib in [gib, 3 * gib / 2, 2 * gib, 3 * gib, 8 * gib, 20 * gib, 50 * gib, 100 * gib] {
        let output = Command::new("sh")
            .args(["-c", &format!("ulimit -v {kib} && exec \"$0\" \"$@\"")])
            .arg(&program)
            .args(["--exact", "a_heap_under_a_limit_is_as_large_as_it_can_be", "--test-threads=1"])
            .env(UNDER_LIMIT, "1")
            .output()
            .expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{kib} KiB: {text}");
    }
}
