//! What owns something is not copied byte by byte.

use mallocgc::typed::{HeaderSlice, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| {
        HeaderSlice::copy_from_slice(cx, 1u8, &[String::from("twice")]);
    });
}
