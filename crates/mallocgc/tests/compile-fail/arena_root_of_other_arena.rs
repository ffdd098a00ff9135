//! A reference of one arena is not put into another's root.

use mallocgc::typed::{Arena, Gc, Rootable};

fn main() {
    let one = Arena::<Rootable![Gc<'_, u64>]>::new(|cx| Gc::new(cx, 1));
    let mut other = Arena::<Rootable![Gc<'_, u64>]>::new(|cx| Gc::new(cx, 2));
    one.mutate(|_, root| other.mutate_root(|_, place| *place = *root));
}
