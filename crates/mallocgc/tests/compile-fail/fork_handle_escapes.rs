//! A thread inside a `run` has ended when the fork returns.

use mallocgc::typed::SharedHeap;

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    heap.attach().unwrap().run(|cx| {
        let thread = cx.fork(|fork| fork.spawn(|_| 5).unwrap());
        thread.join().unwrap();
    });
}
