//! The context of a thread belongs to it.

use mallocgc::typed::{Cx, Gc, Shared, SharedHeap};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    heap.attach().unwrap().run(|cx| {
        let mut kept: Option<&Cx<'_, Shared>> = None;
        cx.fork(|fork| _ = fork.spawn(|cx| kept = Some(cx)));
        Gc::new(kept.unwrap(), 5);
    });
}
