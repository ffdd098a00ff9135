//! The control group's limit as the memory limit: both versions, under a false root.

use crate::MIB;
use crate::support;
use mallocgc::raw::{Config, Heap};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A directory with the files of a system; gone at the end.
struct Root(PathBuf);

impl Root {
    fn new(files: &[(&str, &str)]) -> Root {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("mallocgc-limits-{}-{number}", std::process::id());
        let root = Root(std::env::temp_dir().join(name));
        files.iter().for_each(|(path, text)| root.write(path, text));
        root
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn heap(&self, cgroup_percent: Option<u32>, memory_limit_bytes: usize) -> Heap {
        let cgroup_root = Some(self.0.clone());
        support::heap_with(Config {
            cgroup_percent,
            cgroup_root,
            memory_limit_bytes,
            ..support::manual()
        })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const V2_FILE: &str = "sys/fs/cgroup/a/memory.max";

fn v2(limit: &str) -> Root {
    let mount = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    Root::new(&[("proc/self/cgroup", "0::/a\n"), ("proc/self/mountinfo", mount), (V2_FILE, limit)])
}

fn v1(limit: &str) -> Root {
    let mount = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    Root::new(&[
        ("proc/self/cgroup", "4:memory:/a\n"),
        ("proc/self/mountinfo", mount),
        ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", limit),
    ])
}

#[test]
fn a_part_of_the_groups_limit_is_the_memory_limit() {
    for root in [v1("104857600\n"), v2("104857600\n")] {
        for (percent, wanted) in [
            (100, 100 * MIB),
            (80, 80 * MIB),
            (1, MIB),
            (0, 0),
            (101, 100 * MIB),
            (u32::MAX, 100 * MIB),
        ] {
            let heap = root.heap(Some(percent), usize::MAX);
            assert_eq!(heap.memory_limit_bytes(), wanted, "{percent} percent");
            assert_eq!(heap.stats().memory_limit, wanted as u64);
        }
        assert_eq!(root.heap(None, usize::MAX).memory_limit_bytes(), usize::MAX, "unasked");
    }
}

#[test]
fn the_smaller_of_both_limits_holds() {
    let root = v2("104857600\n");
    let heap = root.heap(Some(50), 30 * MIB);
    assert_eq!(heap.memory_limit_bytes(), 30 * MIB);
    assert_eq!(heap.set_memory_limit_bytes(70 * MIB), 30 * MIB);
    assert_eq!(heap.memory_limit_bytes(), 50 * MIB);
    assert_eq!(heap.set_memory_limit_bytes(usize::MAX), 70 * MIB);
    assert_eq!(heap.memory_limit_bytes(), 50 * MIB);
}

#[test]
fn no_limit_and_no_sense_limit_nothing() {
    for root in [v1("9223372036854771712\n"), v2("max\n"), v2("much\n"), v2(""), Root::new(&[])] {
        assert_eq!(root.heap(Some(80), usize::MAX).memory_limit_bytes(), usize::MAX);
        assert_eq!(root.heap(Some(80), MIB).memory_limit_bytes(), MIB);
    }
}

#[test]
fn a_limit_that_changes_is_read_again_on_request() {
    let root = v2("104857600\n");
    let heap = root.heap(Some(100), usize::MAX);
    root.write(V2_FILE, "52428800\n");
    assert_eq!(heap.memory_limit_bytes(), 100 * MIB);
    assert_eq!(heap.update_cgroup_limit(), 50 * MIB);
    root.write(V2_FILE, "max\n");
    assert_eq!(heap.update_cgroup_limit(), usize::MAX);
    let unasked = root.heap(None, 7 * MIB);
    assert_eq!(unasked.update_cgroup_limit(), 7 * MIB);
}
