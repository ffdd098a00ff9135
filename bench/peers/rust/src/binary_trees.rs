//! Complete binary trees of boxed nodes.

use crate::random::Digest;
use crate::support::{Outcome, Run};

struct Node {
    children: Option<(Box<Node>, Box<Node>)>,
}

const _: () = assert!(size_of::<Node>() == 16);

fn new_tree(depth: u64) -> Box<Node> {
    let children = (depth > 0).then(|| (new_tree(depth - 1), new_tree(depth - 1)));
    Box::new(Node { children })
}

fn count(node: &Node) -> u64 {
    match &node.children {
        None => 1,
        Some((left, right)) => 1 + count(left) + count(right),
    }
}

pub fn run(run: &Run) -> Outcome {
    let depth = run.number("depth");
    let mut check = Digest::new();
    check.add(count(&new_tree(depth + 1)));
    let long_lived = new_tree(depth);
    for d in (4..=depth).step_by(2) {
        let trees = 1u64 << (depth - d + 4);
        let build = |thread: u64| -> u64 {
            (thread..trees).step_by(run.threads).map(|_| count(&new_tree(d))).sum()
        };
        let sum = if run.threads == 1 {
            build(0)
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..run.threads as u64)
                    .map(|thread| scope.spawn(move || build(thread)))
                    .collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
            })
        };
        check.add(sum);
    }
    check.add(count(&long_lived));
    Outcome { check: check.value(), ..Outcome::default() }
}
