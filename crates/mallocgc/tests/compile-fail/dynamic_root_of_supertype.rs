//! A handle of one family is none of another, though the one be a subtype of the other.

use mallocgc::typed::{DynamicRoot, Static};

type Any = Static<for<'a> fn(&'a str)>;
type Only = Static<fn(&'static str)>;

fn weaken(handle: DynamicRoot<Any>) -> DynamicRoot<Only> {
    handle
}

fn main() {}
