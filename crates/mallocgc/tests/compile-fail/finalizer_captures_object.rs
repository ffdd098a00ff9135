//! A finalizer cannot hold a reference, not even to its own object.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| {
        let object = Gc::new(cx, 1u64);
        cx.set_finalizer::<u64, _>(object, move |_, _| println!("{object}")).unwrap();
    });
}
