//! A family is of types that are traced.

use mallocgc::typed::{Gc, Root, Rootable};

struct Untraced<'gc>(Gc<'gc, u64>);

fn keep(_: Root<Rootable![Untraced<'_>]>) {}

fn main() {}
