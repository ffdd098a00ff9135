//! Elements in a shared heap are `Sync`.

use mallocgc::typed::{HeaderSlice, Lock, SharedHeap};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    heap.attach().unwrap().run(|cx| {
        HeaderSlice::from_fn(cx, 1u8, 3, |n| Lock::new(n));
    });
}
