//! `Lock` is written without a lock: `Slot` and `SharedLock` are for threads.

use mallocgc::typed::{Gc, Lock, SharedHeap};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| Gc::new(cx, Lock::new(1u64)).get());
}
