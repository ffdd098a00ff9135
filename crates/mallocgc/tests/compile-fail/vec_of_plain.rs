//! What is in a collection says where its references are, too.

use mallocgc::typed::{Gc, Heap};

struct Plain(u64);

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| Gc::new(cx, vec![Plain(1)]).len());
}
