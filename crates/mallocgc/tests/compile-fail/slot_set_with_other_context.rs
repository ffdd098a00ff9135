//! The barrier is that of the heap whose object is changed.

use mallocgc::typed::{Gc, Heap, Slot, Trace};

#[derive(Trace)]
struct Node<'gc> {
    next: Slot<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let one = Heap::new(Default::default()).unwrap();
    let other = Heap::new(Default::default()).unwrap();
    one.run(|cx| {
        let node = Gc::new(cx, Node { next: Slot::new(None) });
        other.run(|inner| node.next.set(inner, Some(node)));
    });
}
