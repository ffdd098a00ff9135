//! A heap belongs to its thread.

use mallocgc::typed::Heap;

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    std::thread::spawn(move || heap.collect());
}
