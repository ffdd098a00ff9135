//! What an arena's root refers to does not leave `mutate`, nor does the root.

use mallocgc::typed::{Arena, Gc, Rootable};

fn main() {
    let mut arena = Arena::<Rootable![Gc<'_, u64>]>::new(|cx| Gc::new(cx, 1));
    let number = arena.mutate(|_, root| *root);
    let root = arena.mutate(|_, root| root);
    let changed = arena.mutate_root(|_, root| root);
    println!("{number} {root} {changed}");
}
