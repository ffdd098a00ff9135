//! A handle to a slice is of slices of its type.

use mallocgc::typed::{Gc, Heap, Root};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| {
        let bytes: Gc<'_, [u8]> = Gc::from_iter(cx, [1u8, 2]);
        let _: Root<[Gc<'static, u64>]> = cx.root(bytes);
    });
}
