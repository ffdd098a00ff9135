//! Contexts are made by `run`.

use mallocgc::typed::{Cx, Mutation};

fn make(mutation: Mutation<'_>) -> Cx<'_> {
    Cx { mutation, kind: std::marker::PhantomData }
}

fn main() {}
