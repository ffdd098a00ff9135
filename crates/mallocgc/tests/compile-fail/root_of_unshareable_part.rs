//! A root goes to other threads, and so would an unshareable part of a shared object.

use mallocgc::typed::{Family, Gc, SharedHeap};
use std::cell::Cell;
use std::sync::Mutex;

/// Names a type without a lock.
struct Bare;

impl Family for Bare {
    type At<'gc> = Cell<u64>;
}

/// What a guard that is leaked leads to.
fn content(mutex: &Mutex<Cell<u64>>) -> &Cell<u64> {
    Box::leak(Box::new(mutex.lock().unwrap()))
}

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| {
        let object = Gc::new(cx, Mutex::new(Cell::new(1)));
        cx.root::<Bare>(Gc::map(object, content))
    });
}
