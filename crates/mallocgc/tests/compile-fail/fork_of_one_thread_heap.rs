//! The heap of one thread has no others.

use mallocgc::typed::Heap;

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| cx.fork(|_| ()));
}
