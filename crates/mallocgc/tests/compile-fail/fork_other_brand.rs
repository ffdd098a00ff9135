//! A context of a thread is of the heap that it was forked from.

use mallocgc::typed::{Gc, SharedHeap, Slot};

fn main() {
    let (heap, other) =
        (SharedHeap::new(Default::default()).unwrap(), SharedHeap::new(Default::default()).unwrap());
    let (mutator, other) = (heap.attach().unwrap(), other.attach().unwrap());
    mutator.run(|cx| {
        let slot = Gc::new(cx, Slot::new(Gc::new(cx, 1u64)));
        other.run(|cx| {
            cx.fork(|fork| {
                fork.spawn(|cx| slot.set(cx, Gc::new(cx, 2u64))).unwrap();
            });
        });
    });
}
