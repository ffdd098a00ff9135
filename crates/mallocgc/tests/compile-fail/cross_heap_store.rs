//! An object refers to objects of its own heap only.

use mallocgc::typed::{Gc, Heap, RefLock};

fn main() {
    let one = Heap::new(Default::default()).unwrap();
    let other = Heap::new(Default::default()).unwrap();
    one.run(|cx| {
        let list = Gc::new(cx, RefLock::new(Vec::new()));
        other.run(|inner| list.borrow_mut(cx).push(Gc::new(inner, 1u64)));
    });
}
