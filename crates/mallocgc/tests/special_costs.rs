//! What specials cost, printed: `cargo test --release -p mallocgc --test special_costs -- --ignored --nocapture`.

#![allow(missing_docs, reason = "measurements")]

use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout, TypeLayout};
use std::hint::black_box;
use std::time::Instant;

const COUNT: usize = 1 << 18;

/// Nanoseconds a call of `act`, the least of five rounds; `after` is not timed.
fn nanos<R>(what: &str, mut act: impl FnMut(usize) -> R, mut after: impl FnMut()) {
    let mut least = f64::MAX;
    for _ in 0..5 {
        let begin = Instant::now();
        for index in 0..COUNT {
            black_box(act(index));
        }
        least = least.min(begin.elapsed().as_nanos() as f64 / COUNT as f64);
        after();
    }
    println!("{what:40} {least:7.1} ns");
}

#[test]
#[ignore = "prints measurements"]
fn costs_of_specials() {
    let config = Config { background: false, gc_percent: None, ..Config::default() };
    let heap = Heap::new(config).expect("a heap");
    let m = heap.attach().expect("a mutator");
    let pair = heap.layout(&TypeLayout::mask(4, 1)).expect("a layout");
    let make = || m.mallocgc(32, pair, AllocFlags::NONE).expect("memory");
    let gc = || m.gc(Force::NowAndSweep).expect("a collection");
    let one = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
    m.push_root(one);
    let noscan = || m.mallocgc(32, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
    nanos("allocate", |_| make(), gc);
    nanos("allocate pointer-free", |_| noscan(), gc);
    nanos(
        "set and clear a finalizer",
        |_| (m.set_finalizer(one, |_, _| ()), m.clear_finalizer(one)),
        || (),
    );
    nanos(
        "add and stop a cleanup",
        |_| m.add_cleanup(one.as_ptr(), |_| ()).expect("added").stop(&heap),
        || (),
    );
    let kept = m.weak(one).expect("a handle").0;
    nanos("make and drop an existing weak handle", |_| m.weak(one), || ());
    nanos("read a weak handle", |_| kept.get(&m), || ());
    nanos("allocate and make a weak handle", |_| m.weak(noscan()), gc);
    nanos(
        "allocate and add a cleanup",
        |_| m.add_cleanup(make().as_ptr(), |_| ()),
        || {
            gc();
            heap.attach().expect("a mutator").run_cleanups(usize::MAX);
        },
    );
    nanos(
        "allocate and set a finalizer",
        |_| m.set_finalizer(make(), |_, _| ()),
        || {
            gc();
            heap.attach().expect("a mutator").run_finalizers(usize::MAX);
        },
    );
    for _ in 0..COUNT {
        m.set_finalizer(make(), |_, _| ()).expect("set");
    }
    gc();
    let mut runner = heap.attach().expect("a mutator");
    let begin = Instant::now();
    assert_eq!(runner.run_finalizers(usize::MAX), COUNT);
    let each = begin.elapsed().as_nanos() as f64 / COUNT as f64;
    println!("{:40} {each:7.1} ns", "run a finalizer");
}
