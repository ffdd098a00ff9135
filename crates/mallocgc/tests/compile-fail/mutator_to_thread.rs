//! A mutator belongs to its thread; the heap is what is sent.

use mallocgc::typed::SharedHeap;

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    std::thread::spawn(move || mutator.collect());
}
