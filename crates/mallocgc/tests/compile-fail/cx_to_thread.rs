//! A context stays on its thread: threads attach for themselves.

use mallocgc::typed::{Gc, SharedHeap};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| {
        std::thread::scope(|scope| {
            scope.spawn(|| Gc::new(cx, 1u64));
        });
    });
}
