//! A mutator is not shared, either.

use mallocgc::typed::SharedHeap;

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| mutator.collect());
    });
}
