//! A cleanup does not hold what it waits for.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| {
        let object = Gc::new(cx, 1u64);
        cx.add_cleanup(object, move || println!("{object}")).unwrap();
    });
}
