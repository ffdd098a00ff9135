//! A context is lent, not copied.

use mallocgc::typed::{Cx, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| {
        let copy: Cx<'_> = cx.clone();
        drop(copy);
    });
}
