//! A thread borrows nothing that ends before it.

use mallocgc::typed::SharedHeap;

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    heap.attach().unwrap().run(|cx| {
        cx.fork(|fork| {
            let inside = String::from("gone when the thread runs");
            fork.spawn(|_| assert!(!inside.is_empty())).unwrap();
        });
    });
}
