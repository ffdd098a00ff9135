//! Threads are added by the thread whose `run` it is; others fork for themselves.

use mallocgc::typed::SharedHeap;

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    heap.attach().unwrap().run(|cx| {
        cx.fork(|fork| {
            fork.spawn(|_| _ = fork.spawn(|_| ())).unwrap();
        });
    });
}
