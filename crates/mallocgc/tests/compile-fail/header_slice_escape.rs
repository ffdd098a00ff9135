//! A reference to a header and a slice lives as long as its `run`, and so do its parts.

use mallocgc::typed::{Gc, HeaderSlice, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let slice = heap.run(|cx| Gc::slice(HeaderSlice::copy_from_slice(cx, 1u8, &[2u8])));
    assert_eq!(slice[0], 2);
}
