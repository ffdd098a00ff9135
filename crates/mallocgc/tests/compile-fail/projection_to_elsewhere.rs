//! A projection does not lead to what the caller has.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| {
        let other = 2u64;
        let object = Gc::new(cx, 1u64);
        Gc::map(object, |_| &other);
    });
}
