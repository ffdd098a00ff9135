//! A heap is not dropped inside its `run`.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| {
        let object = Gc::new(cx, 1u64);
        drop(heap);
        println!("{object}");
    });
}
