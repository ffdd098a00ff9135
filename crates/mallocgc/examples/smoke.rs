//! Binary trees on the raw interface: `cargo run --release -p mallocgc --example smoke -- 16`.
//!
//! `TRACE=1` in the environment prints a line for each collection.

use mallocgc::raw::{AllocClass, AllocError, Config, Heap, Mutator, TypeLayout};
use std::error::Error;
use std::ptr::NonNull;

type Node = [*mut u8; 2];

/// A tree of a depth. Nothing is rooted meanwhile, since allocation without
/// `AllocFlags::SAFEPOINT` is no boundary.
fn build(m: &Mutator, class: AllocClass, depth: u32) -> Result<NonNull<u8>, AllocError> {
    let node = m.alloc(class)?;
    if depth > 0 {
        for child in 0..2 {
            let subtree = build(m, class, depth - 1)?;
            // SAFETY: the node has two words, both references.
            unsafe { m.write(node.cast::<*mut u8>().add(child).as_ptr(), subtree.as_ptr()) };
        }
    }
    Ok(node)
}

fn count(tree: *mut u8) -> u64 {
    if tree.is_null() {
        return 0;
    }
    // SAFETY: trees consist of nodes, and there is no boundary while counting.
    let children = unsafe { *tree.cast::<Node>() };
    1 + count(children[0]) + count(children[1])
}

fn main() -> Result<(), Box<dyn Error>> {
    let depth: u32 = std::env::args().nth(1).map_or(Ok(16), |argument| argument.parse())?;
    let trace_level = std::env::var("TRACE").map_or(Ok(0), |level| level.parse())?;
    let heap = Heap::new(Config { trace_level, ..Config::default() })?;
    let m = heap.attach()?;
    let node = m.alloc_class(size_of::<Node>(), heap.layout(&TypeLayout::mask(2, 0b11))?)?;

    println!("stretch {}", count(build(&m, node, depth + 1)?.as_ptr()));
    m.poll();
    let long_lived = m.push_root(build(&m, node, depth)?);
    for d in (4..=depth).step_by(2) {
        let trees = 1 << (depth - d + 4);
        let mut nodes = 0;
        for _ in 0..trees {
            m.poll();
            nodes += count(build(&m, node, d)?.as_ptr());
        }
        println!("{trees} trees of depth {d} {nodes}");
    }
    println!("long {}", count(m.root(long_lived).as_ptr()));
    Ok(())
}
