//! Who has borrowed a cell is on one thread.

use mallocgc::typed::{Gc, SharedHeap, SharedLock};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| {
        let list = Gc::new(cx, SharedLock::new(vec![1u64]));
        let guard = list.write(cx);
        std::thread::scope(|scope| {
            scope.spawn(move || drop(guard));
        });
    });
}
