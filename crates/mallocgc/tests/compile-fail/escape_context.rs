//! A context does not leave its `run`.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let mut kept = None;
    heap.run(|cx| kept = Some(cx));
    Gc::new(kept.unwrap(), 1u64);
}
