//! The mallocgc command.
fn main() {}
