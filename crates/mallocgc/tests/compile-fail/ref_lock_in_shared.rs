//! `RefLock` counts its borrows without a lock: `SharedLock` is for threads.

use mallocgc::typed::{Gc, RefLock, SharedHeap};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| *Gc::new(cx, RefLock::new(1u64)).borrow());
}
