//! There are two kinds of heaps.

use mallocgc::typed::Kind;

enum Anything {}

impl Kind for Anything {}

fn main() {}
