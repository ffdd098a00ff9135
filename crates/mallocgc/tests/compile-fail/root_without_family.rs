//! A root names its type for all heaps.

use mallocgc::typed::Root;

struct Plain(u64);

fn main() {
    let root: Option<Root<Plain>> = None;
    drop(root);
}
