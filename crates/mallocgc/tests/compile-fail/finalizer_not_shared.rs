//! In a shared heap any thread may run a finalizer.

use mallocgc::typed::{Gc, SharedHeap};
use std::rc::Rc;

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let count = Rc::new(());
    heap.attach().unwrap().run(|cx| {
        cx.set_finalizer::<u64, _>(Gc::new(cx, 1u64), move |_, _| drop(count)).unwrap();
    });
}
