//! What a local root gives is a reference of the context it was asked with.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.scope(|scope| {
        let root = heap.run(|cx| scope.root::<u64>(cx, Gc::new(cx, 1)));
        let object = heap.run(|cx| root.get(cx));
        println!("{object}");
    });
}
