//! A value set later is of the same heap, too.

use mallocgc::typed::{Gc, Heap, OnceLock};

fn main() {
    let one = Heap::new(Default::default()).unwrap();
    let other = Heap::new(Default::default()).unwrap();
    one.run(|cx| {
        let place = Gc::new(cx, OnceLock::new());
        other.run(|inner| place.set(cx, Gc::new(inner, 1u64)).is_ok());
    });
}
