//! A thread that may outlive the `run` gets no reference.

use mallocgc::typed::{Gc, SharedHeap};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| {
        let object = Gc::new(cx, 1u64);
        std::thread::spawn(move || println!("{object}"));
    });
}
