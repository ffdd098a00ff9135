//! A header that borrows would outlive what it borrows from.

use mallocgc::typed::{HeaderSlice, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| {
        let local = 5u64;
        HeaderSlice::from_fn(cx, &local, 3, |n| n);
    });
}
