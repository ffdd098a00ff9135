//! A root of one family is none of another, though the one be a subtype of the other.

use mallocgc::typed::{Root, Static};

type Any = Static<for<'a> fn(&'a str)>;
type Only = Static<fn(&'static str)>;

fn weaken(root: Root<Any>) -> Root<Only> {
    root
}

fn main() {}
