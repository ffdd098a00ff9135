//! What a finalizer is given does not leave it but by a root.

use mallocgc::typed::{Gc, Heap};
use std::cell::Cell;
use std::rc::Rc;

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let kept = Rc::new(Cell::new(None));
    heap.run(|cx| {
        let kept = kept.clone();
        cx.set_finalizer::<u64, _>(Gc::new(cx, 1u64), move |_, object| kept.set(Some(object))).unwrap();
    });
}
