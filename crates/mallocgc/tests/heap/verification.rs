//! The verifier: it passes sound heaps and names what is wrong with others.

use crate::support::memory::{link, number, set_word, unlink};
use crate::support::program::{Dice, Machine, Settings};
use crate::support::{self, find};
use mallocgc::layout::{Tracer, TypeLayout};
use mallocgc::raw::{AllocFlags, Config, Fault, Force, Heap, Layout, Mutator, RootVisitor};
use std::process::Command;

#[test]
fn a_sound_heap_has_no_fault() {
    let heap = support::heap();
    assert_eq!(heap.verify(), Ok(None));
    for seed in 0..3 {
        let settings = Settings { steps: 1500, ..Settings::default() };
        Machine::new(&heap, format!("seed {seed}"), Dice::Seed(seed), settings).run();
        assert_eq!(heap.verify(), Ok(None));
    }
    let m = heap.attach().unwrap();
    for size in [0, 1, 16, 100, 5000, 100_000] {
        m.push_root(m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap());
        assert_eq!(m.verify(), Ok(None));
    }
    m.gc(Force::Now).unwrap();
    assert_eq!(m.verify(), Ok(None), "also of what is not swept yet");
}

/// Two neighbours of which the second is dead; returns its address.
fn dead(m: &Mutator) -> usize {
    let alive = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    let dead = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    set_word(dead, 0, 0x1234);
    m.push_root(alive);
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(find(m.heap(), dead), None);
    number(dead)
}

fn zombie(heap: &Heap, m: &Mutator, layout: &TypeLayout, size: usize, index: usize) -> Fault {
    let layout = heap.layout(layout).unwrap();
    let holder = m.mallocgc(size, layout, AllocFlags::NONE).unwrap();
    m.push_root(holder);
    let dead = dead(m);
    assert_eq!(m.verify(), Ok(None));
    link(m, holder, index, crate::support::memory::object(dead + 8));
    let fault = m.verify().unwrap().expect("the pointer is found");
    let Fault::PointerToFree { object, value, free_cell, .. } = fault else { panic!("{fault}") };
    assert_eq!(object.as_usize(), number(holder));
    assert_eq!(value.as_usize(), dead + 8);
    assert_eq!(free_cell.map(|(cell, word)| (cell.as_usize(), word)), Some((dead, 0x1234)));
    unlink(m, holder, index);
    assert_eq!(m.verify(), Ok(None));
    fault
}

/// Reports the third word.
unsafe fn trace_third(object: *mut u8, _size: usize, tracer: &mut Tracer<'_>) {
    // SAFETY: the collector passes an object of the layout's size.
    tracer.visit(unsafe { object.cast::<*const u8>().add(2).read() });
}

#[test]
fn a_pointer_to_a_freed_object_is_reported() {
    // The origin's TestGcZombieReporting.
    let heap = support::heap_with(Config { verify: false, clobber: 0, ..support::manual() });
    let m = heap.attach().unwrap();
    for (layout, size, index) in [
        (TypeLayout::mask(4, 0b0110), 32, 2),
        (TypeLayout::repeat(3, 0b100), 1200, 71),
        (TypeLayout::repeat(1, 1), 100_000, 7000),
        (TypeLayout::mask_bits(200, &[0, 1, 0, 1]).unwrap(), 1600, 192),
        (TypeLayout::trace(48, trace_third), 48, 2),
    ] {
        // With a header word first, in a span of the layout's own later.
        for _ in 0..2 {
            let fault = zombie(&heap, &m, &layout, size, index);
            let text = fault.to_string();
            assert!(text.contains("found pointer to free object"), "{text}");
            if let Fault::PointerToFree { offset, .. } = fault {
                let traced = layout == TypeLayout::trace(48, trace_third);
                assert_eq!(offset, if traced { 0 } else { index * 8 });
            }
            let own = heap.layout(&layout).unwrap();
            for _ in 0..1 + 17_000 / size {
                m.mallocgc(size, own, AllocFlags::NONE).unwrap();
            }
        }
    }
}

#[test]
fn a_root_to_a_freed_object_is_reported() {
    let heap = support::heap_with(Config { verify: false, ..support::manual() });
    let m = heap.attach().unwrap();
    let dead = dead(&m);
    let place = m.push_root(crate::support::memory::object(dead));
    let fault = m.verify().unwrap().unwrap();
    assert!(fault.to_string().contains("in a root"), "{fault}");
    m.truncate_roots(place);
    assert_eq!(m.verify(), Ok(None));
    m.set_root_callback(Some(move |visitor: &mut RootVisitor<'_>| {
        visitor.visit_ambiguous(dead);
    }))
    .unwrap();
    assert_eq!(m.verify(), Ok(None), "ambiguous words may be anything");
    m.set_root_callback(Some(move |visitor: &mut RootVisitor<'_>| {
        visitor.visit(std::ptr::with_exposed_provenance(dead));
    }))
    .unwrap();
    assert!(matches!(m.verify(), Ok(Some(Fault::PointerToFree { .. }))));
    m.set_root_callback(None::<fn(&mut RootVisitor<'_>)>).unwrap();
    // A page of no span, too.
    let large = m.mallocgc(1 << 20, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    m.gc(Force::NowAndSweep).unwrap();
    m.push_root(large);
    let fault = m.verify().unwrap().unwrap();
    assert!(matches!(fault, Fault::PointerToFree { free_cell: None, .. }), "{fault:?}");
}

/// Runs one of the tests below in a process of its own; returns what it said.
fn last_words(case: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let test = format!("verification::{case}");
    let output = Command::new(program)
        .args([&test, "--exact", "--ignored", "--nocapture"])
        .output()
        .expect("the test program runs again");
    assert!(!output.status.success(), "{case} should have ended the process");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn faults_end_the_process_with_their_values() {
    for (case, expected) in [
        ("dies_of_a_zombie", "mallocgc: fatal: Stopped: found pointer to free object"),
        ("dies_of_a_panicking_root_callback", "a callback panicked during a collection"),
        ("dies_of_a_panicking_trace_function", "a callback panicked during a collection"),
        ("dies_of_a_panic_on_a_worker", "panicked while marking"),
    ] {
        let said = last_words(case);
        assert!(said.contains(expected), "{case} said: {said}");
    }
}

#[test]
#[ignore = "ends the process; run by faults_end_the_process_with_their_values"]
fn dies_of_a_zombie() {
    let heap = support::heap_with(Config { verify: true, ..support::manual() });
    let m = heap.attach().unwrap();
    let cell = heap.layout(&TypeLayout::mask(1, 1)).unwrap();
    let holder = m.new_object(cell).unwrap();
    m.push_root(holder);
    link(&m, holder, 0, crate::support::memory::object(dead(&m)));
    let _ = m.gc(Force::Now);
}

#[test]
#[ignore = "ends the process; run by faults_end_the_process_with_their_values"]
fn dies_of_a_panicking_root_callback() {
    let heap = support::heap();
    heap.add_root_callback(|_| panic!("on purpose"));
    let _ = heap.gc(Force::Now);
}

/// Panics.
unsafe fn trace_panic(_object: *mut u8, _size: usize, _tracer: &mut Tracer<'_>) {
    panic!("on purpose");
}

fn collect_what_panics(workers: usize) {
    let config = Config { workers, verify: false, ..support::manual() };
    let heap = support::heap_with(config);
    let m = heap.attach().unwrap();
    let layout = heap.layout(&TypeLayout::trace(64, trace_panic)).unwrap();
    m.push_root(m.new_object(layout).unwrap());
    let _ = m.gc(Force::Now);
}

#[test]
#[ignore = "ends the process; run by faults_end_the_process_with_their_values"]
fn dies_of_a_panicking_trace_function() {
    collect_what_panics(1);
}

#[test]
#[ignore = "ends the process; run by faults_end_the_process_with_their_values"]
fn dies_of_a_panic_on_a_worker() {
    collect_what_panics(3);
}
