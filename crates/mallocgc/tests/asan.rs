//! Under AddressSanitizer a program that reads a dead object stops at the
//! read. Each case runs in a child process, since it ends it.

#![cfg(mallocgc_asan)]

mod support;

use mallocgc::raw::{AllocFlags, Force, Layout, Mutator};
use std::process::{Command, Output};
use support::memory::{Object, byte};

/// Runs an ignored test of this program alone, in a process of its own.
fn child(test: &str) -> Output {
    let program = std::env::current_exe().expect("this program");
    let arguments = ["--ignored", "--exact", test, "--nocapture", "--test-threads=1"];
    Command::new(program).args(arguments).output().expect("it runs")
}

fn is_stopped(test: &str) {
    let output = child(test);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{test} goes on: {text}");
    assert!(text.contains("AddressSanitizer: use-after-poison"), "{test}: {text}");
}

fn make(mutator: &Mutator, bytes: usize) -> Object {
    mutator.mallocgc(bytes, Layout::NOSCAN, AllocFlags::NONE).expect("memory")
}

#[test]
fn a_child_that_reads_a_dead_object_is_stopped() {
    is_stopped("reads_a_dead_small_object");
    is_stopped("reads_a_dead_large_object");
}

#[test]
fn a_child_that_reads_behind_its_objects_is_stopped() {
    is_stopped("reads_a_cell_never_handed_out");
}

#[test]
fn a_child_that_reads_its_objects_goes_on() {
    let output = child("reads_living_objects");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "ends the process; run by a_child_that_reads_a_dead_object_is_stopped"]
fn reads_a_dead_small_object() {
    let heap = support::heap();
    let mutator = heap.attach().expect("a mutator");
    // A neighbour keeps the span.
    mutator.push_root(make(&mutator, 64));
    let dead = make(&mutator, 64);
    assert_eq!(byte(dead, 0), 0);
    mutator.gc(Force::NowAndSweep).expect("a collection");
    byte(dead, 0);
}

#[test]
#[ignore = "ends the process; run by a_child_that_reads_a_dead_object_is_stopped"]
fn reads_a_dead_large_object() {
    let heap = support::heap();
    let mutator = heap.attach().expect("a mutator");
    let dead = make(&mutator, 1 << 20);
    assert_eq!(byte(dead, 1 << 19), 0);
    mutator.gc(Force::NowAndSweep).expect("a collection");
    byte(dead, 1 << 19);
}

#[test]
#[ignore = "ends the process; run by a_child_that_reads_behind_its_objects_is_stopped"]
fn reads_a_cell_never_handed_out() {
    let heap = support::heap();
    let mutator = heap.attach().expect("a mutator");
    // Cells of this size are handed out one run at a time; half of the span's
    // bytes away there is none yet.
    let object = make(&mutator, 64);
    byte(object, 4096);
}

#[test]
#[ignore = "run by a_child_that_reads_its_objects_goes_on"]
fn reads_living_objects() {
    let heap = support::heap();
    let mutator = heap.attach().expect("a mutator");
    for bytes in [1, 16, 64, 1000, 20_000, 1 << 20] {
        let object = make(&mutator, bytes);
        mutator.push_root(object);
        mutator.gc(Force::NowAndSweep).expect("a collection");
        assert_eq!((byte(object, 0), byte(object, bytes - 1)), (0, 0));
    }
}
