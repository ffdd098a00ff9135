//! A scoped thread reads what threads may share.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| {
        let object = Gc::new(cx, std::cell::Cell::new(1u64));
        std::thread::scope(|scope| {
            scope.spawn(move || object.set(2));
        });
    });
}
