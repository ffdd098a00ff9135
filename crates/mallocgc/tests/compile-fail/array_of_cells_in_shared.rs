//! Elements of arrays are shared like objects.

use mallocgc::typed::{Gc, SharedHeap};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| Gc::from_iter(cx, [1u64, 2].map(std::cell::Cell::new)).len());
}
