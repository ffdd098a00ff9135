//! What a thread inside a `run` has made lives as long as the `run`.

use mallocgc::typed::{Gc, SharedHeap};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    let object = mutator
        .run(|cx| cx.fork(|fork| fork.spawn(|cx| Gc::new(cx, 5u64)).unwrap().join().unwrap()));
    assert_eq!(*object, 5);
}
