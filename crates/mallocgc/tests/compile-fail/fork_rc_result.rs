//! What a thread inside a `run` gives back is `Send`.

use mallocgc::typed::SharedHeap;
use std::rc::Rc;

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    heap.attach().unwrap().run(|cx| {
        cx.fork(|fork| fork.spawn(|_| Rc::new(5)).unwrap().join().unwrap());
    });
}
