//! Marking beside the mutators, step by step: what is done between two steps of a
//! cycle, and what must become of it.

mod support;

use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout, Mutator, Step, TypeLayout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use support::find;
use support::memory::{Object, link, number, set_word, unlink, unlink_after_barrier, word};

/// A heap whose only mutator collects it in steps.
fn stepped() -> Heap {
    support::heap_with(Config {
        background: false,
        concurrent_from_bytes: 0,
        clobber: support::CLOBBER,
        verify: true,
        ..support::manual()
    })
}

/// Two references and a number.
fn pair(heap: &Heap) -> Layout {
    heap.layout(&TypeLayout::mask(3, 0b011)).unwrap()
}

/// Nothing is marked yet but what roots lead to.
fn begin(mutator: &Mutator) {
    assert_eq!(mutator.step(Force::Now, 1), Ok(Step::Marking));
}

fn finish(mutator: &Mutator) {
    while mutator.step(Force::NowAndSweep, 1 << 20).unwrap() != Step::Finished {}
}

/// A chain of objects behind a root; the last one is returned too.
fn chain(mutator: &Mutator, layout: Layout, length: usize) -> (Object, Object) {
    let first = mutator.new_object(layout).unwrap();
    mutator.push_root(first);
    let mut last = first;
    for _ in 1..length {
        let next = mutator.new_object(layout).unwrap();
        link(mutator, last, 0, next);
        last = next;
    }
    (first, last)
}

#[test]
fn a_reference_carried_over_the_markers_head_is_found() {
    for through_object_form in [false, true] {
        let heap = stepped();
        let mutator = heap.attach().unwrap();
        let layout = pair(&heap);
        let (first, last) = chain(&mutator, layout, 1000);
        let hidden = mutator.new_object(layout).unwrap();
        set_word(hidden, 2, 7);
        link(&mutator, last, 1, hidden);
        begin(&mutator);
        // The first object has been read, the last one has not.
        assert_eq!(mutator.step(Force::Now, 240), Ok(Step::Marking));
        link(&mutator, first, 1, hidden);
        match through_object_form {
            false => unlink(&mutator, last, 1),
            true => unlink_after_barrier(&mutator, last, 1),
        }
        finish(&mutator);
        assert!(find(&heap, hidden).is_some());
        assert_eq!(word(hidden, 2), 7);
        // And it is not kept for ever.
        unlink(&mutator, first, 1);
        finish(&mutator);
        assert_eq!(find(&heap, hidden), None);
        assert_eq!(heap.stats().heap_objects, 1000);
    }
}

#[test]
fn references_copied_as_a_range_are_found() {
    let heap = stepped();
    let mutator = heap.attach().unwrap();
    let slots = heap.layout(&TypeLayout::repeat(1, 1)).unwrap();
    let (_, last) = chain(&mutator, pair(&heap), 1000);
    let (early, late) =
        (mutator.new_array(slots, 64).unwrap(), mutator.new_array(slots, 64).unwrap());
    mutator.push_root(early);
    link(&mutator, last, 1, late);
    let objects: Vec<Object> = (0..64)
        .map(|index| {
            let object = mutator.mallocgc(100, Layout::NOSCAN, AllocFlags::NONE).unwrap();
            link(&mutator, late, index, object);
            object
        })
        .collect();
    let nothing = [std::ptr::null_mut::<u8>(); 64];
    begin(&mutator);
    assert_eq!(mutator.step(Force::Now, 2000), Ok(Step::Marking));
    let (from, to) = (late.as_ptr().cast(), early.as_ptr().cast());
    // SAFETY: arrays of 64 reference words, and one of nulls.
    unsafe {
        mutator.write_range(to, from, 64);
        mutator.write_range(from, nothing.as_ptr(), 64);
        // Overlapping, in both directions.
        mutator.write_range(to.add(1), to, 63);
        mutator.write_range(to, to.add(1), 63);
    }
    finish(&mutator);
    for (index, &object) in objects[..63].iter().enumerate() {
        assert_eq!(word(early, index), number(object), "slot {index}");
        assert!(find(&heap, object).is_some(), "slot {index}");
    }
    finish(&mutator);
    assert_eq!(find(&heap, objects[63]), None, "overwritten by the copies");
}

#[test]
fn what_is_allocated_while_marking_survives_the_cycle_and_no_other() {
    let heap = stepped();
    let mutator = heap.attach().unwrap();
    let layout = pair(&heap);
    chain(&mutator, layout, 500);
    // Cells to be used again, old neighbours beside them, and layouts of their own.
    for _ in 0..5000 {
        mutator.new_object(layout).unwrap();
    }
    mutator.gc(Force::Now).unwrap();
    begin(&mutator);
    let rare = heap.layout(&TypeLayout::mask(5, 0b10010)).unwrap();
    let mut newborns = Vec::new();
    for number in 0..2000 {
        // Allocation assists, so that marking goes on by itself; it ends at a step.
        newborns.push(match number % 4 {
            0 => mutator.new_object(layout),
            1 => mutator.new_object(rare),
            2 => mutator.mallocgc(8 + number, Layout::NOSCAN, AllocFlags::NONE),
            _ => mutator.mallocgc(5, Layout::NOSCAN, AllocFlags::NONE),
        });
        if number % 100 == 0 {
            newborns.push(mutator.mallocgc(40 << 10, layout, AllocFlags::NONE));
        }
    }
    let newborns: Vec<Object> = newborns.into_iter().map(Result::unwrap).collect();
    // The last stop, and nothing swept yet.
    while mutator.step(Force::Now, 1 << 20).unwrap() != Step::Finished {}
    assert!(newborns.iter().all(|&object| find(&heap, object).is_some()));
    let live = heap.stats().live_bytes;
    mutator.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 500);
    assert!(live > heap.stats().live_bytes + 20 * (40 << 10), "{live} bytes with the newborns");
}

#[test]
fn a_newborn_that_is_kept_keeps_what_it_holds() {
    let heap = stepped();
    let mutator = heap.attach().unwrap();
    let layout = pair(&heap);
    let (first, last) = chain(&mutator, layout, 1000);
    let held = mutator.new_object(layout).unwrap();
    link(&mutator, last, 1, held);
    begin(&mutator);
    let newborn = mutator.new_object(layout).unwrap();
    link(&mutator, newborn, 0, held);
    unlink(&mutator, last, 1);
    link(&mutator, first, 1, newborn);
    finish(&mutator);
    finish(&mutator);
    assert!(find(&heap, newborn).is_some() && find(&heap, held).is_some());
}

#[test]
fn a_weak_handle_read_while_marking_keeps_the_object() {
    let heap = stepped();
    let mutator = heap.attach().unwrap();
    let layout = pair(&heap);
    let (first, _) = chain(&mutator, layout, 100);
    let (dying, held) = (mutator.new_object(layout).unwrap(), mutator.new_object(layout).unwrap());
    link(&mutator, dying, 0, held);
    let (weak, _) = mutator.weak(dying).unwrap();
    let (unread, _) = mutator.weak(mutator.new_object(layout).unwrap()).unwrap();
    begin(&mutator);
    assert_eq!(weak.get(&mutator), Some(dying));
    link(&mutator, first, 1, dying);
    finish(&mutator);
    assert!(find(&heap, dying).is_some() && find(&heap, held).is_some());
    assert_eq!(weak.get(&mutator), Some(dying));
    assert_eq!(unread.get(&mutator), None);
    unlink(&mutator, first, 1);
    finish(&mutator);
    assert_eq!(weak.get(&mutator), None);
}

#[test]
fn roots_come_and_go_while_marking() {
    let heap = stepped();
    let mutator = heap.attach().unwrap();
    let layout = pair(&heap);
    chain(&mutator, layout, 1000);
    let object = || mutator.new_object(layout).unwrap();
    let (dropped, carried, set) = (object(), object(), object());
    let (dropped_root, mut handle) = (heap.root(dropped).unwrap(), heap.root(carried).unwrap());
    let moved = heap.root(set).unwrap();
    begin(&mutator);
    // In hand after the last root is gone, until a root of another kind.
    drop(dropped_root);
    handle.set(set);
    let stacked = mutator.push_root(carried);
    moved.set(dropped);
    handle = handle.try_clone().unwrap();
    finish(&mutator);
    assert!([dropped, carried, set].iter().all(|&object| find(&heap, object).is_some()));
    mutator.truncate_roots(stacked);
    drop((handle, moved));
    finish(&mutator);
    assert!([dropped, carried, set].iter().all(|&object| find(&heap, object).is_none()));
}

#[test]
fn finalizers_and_cleanups_meet_marking() {
    let heap = stepped();
    let mut mutator = heap.attach().unwrap();
    let layout = pair(&heap);
    chain(&mutator, layout, 1000);
    let (finalized, cleaned) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let watch = |mutator: &Mutator, object: Object| {
        let (finalized, held) = (finalized.clone(), mutator.new_object(layout).unwrap());
        link(mutator, object, 0, held);
        let check = move |_: &mut Mutator, object: Object| {
            assert_ne!(word(object, 0), 0, "what it holds is kept for the finalizer");
            finalized.fetch_add(1, Relaxed);
        };
        mutator.set_finalizer(object, check).unwrap();
        let cleaned = cleaned.clone();
        let count = move |_: &mut Mutator| _ = cleaned.fetch_add(1, Relaxed);
        mutator.add_cleanup(object.as_ptr(), count).unwrap();
    };
    let old = mutator.new_object(layout).unwrap();
    watch(&mutator, old);
    begin(&mutator);
    // Neither the newborn nor its finalizer is due in this cycle.
    watch(&mutator, mutator.new_object(layout).unwrap());
    finish(&mutator);
    assert_eq!(heap.special_counts().finalizers.queued, 1);
    // Handed out while the next cycle is marking, and kept by nobody then.
    begin(&mutator);
    assert_eq!(mutator.run_finalizers(10), 1);
    assert_eq!(mutator.run_cleanups(10), 0);
    finish(&mutator);
    assert_eq!((finalized.load(Relaxed), mutator.run_finalizers(10)), (1, 1));
    finish(&mutator);
    finish(&mutator);
    assert_eq!(mutator.run_cleanups(10), 2);
    assert_eq!((finalized.load(Relaxed), cleaned.load(Relaxed)), (2, 2));
    assert_eq!(heap.stats().heap_objects, 1000);
}

#[test]
fn what_a_mutator_noted_is_taken_when_it_detaches() {
    let heap = support::heap_with(Config {
        background: false,
        concurrent_from_bytes: 0,
        verify: true,
        ..support::manual()
    });
    let mut mutator = heap.attach().unwrap();
    let layout = pair(&heap);
    let (first, last) = chain(&mutator, layout, 1000);
    let hidden = mutator.new_object(layout).unwrap();
    link(&mutator, last, 1, hidden);
    begin(&mutator);
    assert_eq!(mutator.step(Force::Now, 240), Ok(Step::Marking));
    let addresses = [first, last, hidden].map(number);
    mutator.blocking(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let other = heap.attach().unwrap();
                let [first, last, hidden] = addresses.map(support::memory::object);
                link(&other, first, 1, hidden);
                unlink(&other, last, 1);
            });
        });
    });
    finish(&mutator);
    assert!(find(&heap, hidden).is_some());
}

#[test]
fn a_heap_with_opaque_objects_is_marked_in_a_stop() {
    let heap = stepped();
    let mutator = heap.attach().unwrap();
    chain(&mutator, pair(&heap), 100);
    begin(&mutator);
    // The cycle that is open is not disturbed by what is newborn.
    let object = mutator.new_object(heap.layout(&TypeLayout::conservative(24)).unwrap()).unwrap();
    finish(&mutator);
    assert!(find(&heap, object).is_some());
    assert_eq!(mutator.step(Force::NowAndSweep, 1), Ok(Step::Finished));
    assert_eq!(heap.stats().heap_objects, 100);
}

/// References in memory that only a function knows: a vector of numbers of objects.
mod listed {
    use super::*;
    use mallocgc::layout::Tracer;

    /// # Safety
    ///
    /// The object's first word is null, or the address of such a vector.
    unsafe fn trace(object: *mut u8, _: usize, tracer: &mut Tracer<'_>) {
        // SAFETY: the caller's promise.
        let list = unsafe { object.cast::<*const Vec<usize>>().read().as_ref() };
        for &reference in list.into_iter().flatten() {
            tracer.visit(std::ptr::with_exposed_provenance::<u8>(reference));
        }
    }

    pub(super) fn layout(heap: &Heap, words: usize) -> Layout {
        heap.layout(&TypeLayout::trace(words * 8, trace)).unwrap()
    }

    /// An object that lists others.
    pub(super) fn new(mutator: &Mutator, layout: Layout, words: usize) -> Object {
        let object = mutator.mallocgc(words * 8, layout, AllocFlags::NONE).unwrap();
        let list = Box::into_raw(Box::<Vec<usize>>::default());
        set_word(object, 0, list.expose_provenance());
        object
    }

    /// Changes the list, after the barrier. Vectors are leaked when the test ends.
    pub(super) fn change(mutator: &Mutator, object: Object, change: impl FnOnce(&mut Vec<usize>)) {
        // SAFETY: an object of `new`, in hand.
        unsafe { mutator.pre_write_object(object, 0..8) };
        let list = std::ptr::with_exposed_provenance_mut::<Vec<usize>>(word(object, 0));
        // SAFETY: as above; after the barrier nobody else reads it.
        change(unsafe { &mut *list });
    }
}

#[test]
fn an_object_that_a_function_reads_is_read_before_it_is_changed() {
    // Of every way to have a cell: with a header or not, of the smallest size, and large.
    for (words, warm) in [(1, false), (1, true), (4, false), (4, true), (6000, false)] {
        let heap = stepped();
        let mutator = heap.attach().unwrap();
        let (pair, layout) = (pair(&heap), listed::layout(&heap, words));
        if warm {
            (0..20_000 / words).for_each(|_| _ = listed::new(&mutator, layout, words));
        }
        let (first, last) = chain(&mutator, pair, 1000);
        let (early, late) =
            (listed::new(&mutator, layout, words), listed::new(&mutator, layout, words));
        mutator.push_root(early);
        link(&mutator, last, 1, late);
        let hidden: Vec<Object> = (0..50)
            .map(|value| {
                let object = mutator.new_object(pair).unwrap();
                set_word(object, 2, value);
                listed::change(&mutator, late, |list| list.push(number(object)));
                object
            })
            .collect();
        let neighbour = listed::new(&mutator, layout, words);
        link(&mutator, first, 1, neighbour);
        listed::change(&mutator, neighbour, |list| list.push(number(first)));
        begin(&mutator);
        assert_eq!(mutator.step(Force::Now, 240), Ok(Step::Marking));
        // From where the marker has not been to where it has.
        let mut taken = Vec::new();
        listed::change(&mutator, late, |list| taken = std::mem::take(list));
        listed::change(&mutator, early, |list| list.extend(&taken[..49]));
        // A newborn one holds what it likes.
        let newborn = listed::new(&mutator, layout, words);
        listed::change(&mutator, newborn, |list| list.push(taken[49]));
        listed::change(&mutator, early, |list| list.push(number(newborn)));
        finish(&mutator);
        for (value, &object) in hidden.iter().enumerate() {
            assert!(find(&heap, object).is_some(), "{words} words, object {value}");
            assert_eq!(word(object, 2), value);
        }
        // Claims of a cycle are not those of the next.
        begin(&mutator);
        listed::change(&mutator, early, |list| list.clear());
        finish(&mutator);
        assert!(find(&heap, hidden[0]).is_some(), "reachable when the cycle began");
        finish(&mutator);
        assert!(hidden.iter().all(|&object| find(&heap, object).is_none()));
        assert_eq!(heap.stats().heap_objects, 1003, "{words} words");
    }
}

#[test]
fn a_forced_collection_ends_the_open_cycle_and_runs_another() {
    let heap = stepped();
    let mutator = heap.attach().unwrap();
    let layout = pair(&heap);
    let (first, last) = chain(&mutator, layout, 100);
    begin(&mutator);
    unlink(&mutator, first, 0);
    mutator.gc(Force::NowAndSweep).unwrap();
    assert_eq!(find(&heap, last), None, "it died while marking, and is gone");
    assert_eq!(heap.stats().num_gc, 2);
    assert_eq!(heap.stats().heap_objects, 1);
    begin(&mutator);
    assert_eq!(mutator.verify(), Ok(None), "the open cycle is ended first");
}

#[test]
fn a_mutator_that_does_not_come_to_the_last_stop_leaves_the_cycle_open() {
    let log = support::Log::default();
    let heap = support::heap_with(log.of(Config {
        background: false,
        concurrent_from_bytes: 0,
        stop_limit: Duration::from_millis(20),
        ..support::manual()
    }));
    let mutator = heap.attach().unwrap();
    let (first, last) = chain(&mutator, pair(&heap), 100);
    begin(&mutator);
    let (stuck, go_on) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _other = heap.attach().unwrap();
            stuck.wait();
            go_on.wait();
        });
        stuck.wait();
        unlink(&mutator, first, 0);
        let result = loop {
            match mutator.step(Force::Now, 1 << 20) {
                Ok(Step::Marking) => {}
                other => break other,
            }
        };
        assert!(result.is_err(), "{result:?}");
        assert!(log.lines()[0].contains("reached no boundary in"), "{:?}", log.lines());
        go_on.wait();
    });
    finish(&mutator);
    assert!(find(&heap, last).is_some(), "it was reachable when the cycle began");
    finish(&mutator);
    assert_eq!(find(&heap, last), None);
}

#[test]
fn the_collector_thread_runs_due_cycles_beside_its_mutators() {
    let heap = support::heap_with(Config {
        concurrent_from_bytes: 1 << 20,
        min_heap_bytes: 2 << 20,
        collect_every: 0,
        ..support::config()
    });
    let mutator = heap.attach().unwrap();
    let layout = pair(&heap);
    let (first, _) = chain(&mutator, layout, 20_000);
    let mut made = 0;
    while heap.stats().num_gc < 5 {
        let object = mutator.new_object(layout).unwrap();
        link(&mutator, object, 0, first);
        made += 1;
        mutator.poll();
        assert!(made < 100_000_000, "no cycle ends");
    }
    mutator.gc(Force::NowAndSweep).unwrap();
    assert_eq!(heap.stats().heap_objects, 20_000);
}
