//! A thread allocates with its own context, not with that of another.

use mallocgc::typed::{Gc, SharedHeap};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    heap.attach().unwrap().run(|outer| {
        outer.fork(|fork| {
            fork.spawn(|_| _ = Gc::new(outer, 5u64)).unwrap();
        });
    });
}
