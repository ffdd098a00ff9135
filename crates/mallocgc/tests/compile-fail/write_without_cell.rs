//! An object is not changed but through a cell.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| {
        let pair = Gc::new(cx, (1u64, 2u64));
        pair.0 = 3;
    });
}
