//! Objects of a shared heap are read by all its threads.

use mallocgc::typed::{Gc, SharedHeap};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| Gc::new(cx, std::rc::Rc::new(1u64)).as_ref().clone());
}
