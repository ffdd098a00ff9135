//! `Static` hides no reference.

use mallocgc::typed::{Gc, Heap, Static};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| {
        let object = Gc::new(cx, 1u64);
        Gc::new(cx, Static(object));
    });
}
