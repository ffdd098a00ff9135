//! What a store and a boundary cost: prints nanoseconds, the least of some runs.
//! `cargo run --release -p mallocgc --example barrier_costs`.
//!
//! The objects fit the nearest caches, so what is shown is the barrier's own time.

use mallocgc::raw::{Config, Force, Heap, Mutator, Step, TypeLayout};
use mallocgc::typed::{self, Gc, Lock, RefLock, Slot};
use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicPtr, Ordering::Release};
use std::sync::{Arc, Barrier};
use std::time::Instant;

const SLOTS: usize = 512;
const ROUNDS: usize = 200;
const RUNS: usize = 50;

/// Nanoseconds of one of `SLOTS * ROUNDS` acts.
fn nanos(mut act: impl FnMut(usize)) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..RUNS {
        let begin = Instant::now();
        for _ in 0..ROUNDS {
            for slot in 0..SLOTS {
                act(slot);
            }
        }
        let each = begin.elapsed().as_nanos() as f64 / (SLOTS * ROUNDS) as f64;
        least = least.min(each);
    }
    least
}

#[inline(never)]
fn store_plainly(slot: *mut *mut u8, value: *mut u8) {
    // SAFETY: a slot of an array that is in hand.
    unsafe { AtomicPtr::from_ptr(slot) }.store(value, Release);
}

#[inline(never)]
fn store(mutator: &Mutator, slot: *mut *mut u8, value: *mut u8) {
    // SAFETY: as above.
    unsafe { mutator.write(slot, value) }
}

#[inline(never)]
fn block(mutator: &mut Mutator) {
    mutator.blocking(|| {});
}

#[inline(never)]
fn run(heap: &typed::Heap) {
    heap.run(|_| {});
}

/// What the cells of the safe interface cost: a word, two words, a vector.
fn print_cells() -> Result<(), Box<dyn Error>> {
    type Pair<'gc> = (Option<Gc<'gc, u64>>, u64);
    let config = Config { gc_percent: None, concurrent_from_bytes: 0, ..Config::default() };
    let heap = typed::Heap::new(config)?;
    println!("{:6.2} ns  run", nanos(|_| run(black_box(&heap))));
    heap.run(|cx| {
        let places: Vec<_> = (0..SLOTS as u64)
            .map(|number| {
                let object = Gc::new(cx, number);
                let slot = Gc::new(cx, Slot::new(Some(object)));
                let lock = Gc::new(cx, Lock::<Pair<'_>>::new((Some(object), number)));
                let list = Gc::new(cx, RefLock::new(vec![object]));
                (object, slot, lock, list)
            })
            .collect();
        let set = nanos(|at| places[at].1.set(cx, Some(places[at].0)));
        println!("{set:6.2} ns  Slot::set, no cycle");
        let set = nanos(|at| places[at].2.set(cx, (Some(places[at].0), 1)));
        println!("{set:6.2} ns  Lock::set of two words, no cycle");
        let change = nanos(|at| places[at].3.borrow_mut(cx)[0] = places[at].0);
        println!("{change:6.2} ns  RefLock::borrow_mut, no cycle");
    });
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let config = Config {
        gc_percent: None,
        background: false,
        concurrent_from_bytes: 0,
        ..Config::default()
    };
    let heap = Heap::new(config)?;
    let mut mutator = heap.attach()?;
    // A stop of two mutators makes the fences the cheap ones.
    let (other, barrier) = (heap.clone(), Arc::new(Barrier::new(2)));
    let (arrives, ends) = (barrier.clone(), barrier.clone());
    let thread = std::thread::spawn(move || {
        let mut mutator = other.attach().expect("memory");
        mutator.blocking(|| (arrives.wait(), arrives.wait()));
    });
    barrier.wait();
    mutator.gc(Force::Now)?;
    ends.wait();
    mutator.blocking(|| thread.join()).expect("it detaches");
    let references = heap.layout(&TypeLayout::repeat(1, 1))?;
    let array = mutator.new_array(references, SLOTS)?;
    mutator.push_root(array);
    let slots = array.as_ptr().cast::<*mut u8>();
    let slot = |index: usize| {
        // SAFETY: the array has so many slots.
        unsafe { slots.add(index) }
    };
    let object = heap.layout(&TypeLayout::mask(4, 0b1))?;
    let mut objects = Vec::new();
    // The first objects of a layout are behind headers.
    for _ in 0..4 * SLOTS {
        objects.push(mutator.new_object(object)?.as_ptr());
    }
    objects.drain(..3 * SLOTS);
    let mutator_ref = black_box(&mutator);
    println!("{:6.2} ns  a store", nanos(|at| store_plainly(slot(at), objects[at])));
    println!("{:6.2} ns  write, no cycle", nanos(|at| store(mutator_ref, slot(at), objects[at])));
    assert_eq!(mutator.step(Force::Now, 1)?, Step::Marking);
    // Nothing but the array is marked, and the array not read.
    let marking = nanos(|at| store(mutator_ref, slot(at), objects[SLOTS - 1 - at]));
    println!("{marking:6.2} ns  write, marking, of what is not marked");
    while mutator.step(Force::Now, 1 << 20)? != Step::Finished {}
    assert_eq!(mutator.step(Force::Now, 1)?, Step::Marking);
    assert_eq!(mutator.step(Force::Now, SLOTS * 24)?, Step::Marking);
    let mutator_ref = black_box(&mutator);
    let marked = nanos(|at| store(mutator_ref, slot(at), objects[at]));
    println!("{marked:6.2} ns  write, marking, of what is mostly marked");
    while mutator.step(Force::Now, 1 << 20)? != Step::Finished {}
    println!("{:6.2} ns  entering and leaving", nanos(|_| block(black_box(&mut mutator))));
    print_cells()
}
