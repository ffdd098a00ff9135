//! Nobody changes the root while a function has it.

use mallocgc::typed::{Arena, Gc, Rootable};

fn main() {
    let mut arena = Arena::<Rootable![Vec<Gc<'_, u64>>]>::new(|cx| vec![Gc::new(cx, 1)]);
    arena.mutate(|_, _| arena.mutate_root(|_, root| root.clear()));
}
