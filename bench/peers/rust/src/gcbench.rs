//! Trees built top-down and bottom-up beside a long-lived tree and a large array.

use crate::random::Digest;
use crate::support::{Outcome, Run};

#[derive(Default)]
struct Node {
    left: Option<Box<Node>>,
    right: Option<Box<Node>>,
    i: u32,
    #[allow(dead_code, reason = "held for its memory, never read")]
    j: u32,
}

const _: () = assert!(size_of::<Node>() == 24);

fn tree_size(depth: u64) -> u64 {
    (2 << depth) - 1
}

/// Builds top-down, into a node that exists.
fn populate(depth: u64, node: &mut Node) {
    node.i = depth as u32;
    if depth == 0 {
        return;
    }
    let left = node.left.insert(Box::default());
    let right = node.right.insert(Box::default());
    populate(depth - 1, left);
    populate(depth - 1, right);
}

/// Builds the children before their parent.
fn bottom_up(depth: u64) -> Box<Node> {
    if depth == 0 {
        return Box::default();
    }
    let (left, right) = (bottom_up(depth - 1), bottom_up(depth - 1));
    Box::new(Node { left: Some(left), right: Some(right), i: depth as u32, j: 0 })
}

/// Adds up a tree's left edge.
fn spine(root: &Node) -> u64 {
    let mut sum = 0;
    let mut node = Some(root);
    while let Some(n) = node {
        sum += u64::from(n.i) + 1;
        node = n.left.as_deref();
    }
    sum
}

fn count(node: &Option<Box<Node>>) -> u64 {
    node.as_ref().map_or(0, |node| 1 + count(&node.left) + count(&node.right))
}

pub fn run(run: &Run) -> Outcome {
    let (depth, doubles) = (run.number("depth"), run.number("doubles"));
    let mut check = Digest::new();
    check.add(spine(&bottom_up(depth + 2)));
    let mut long_lived: Box<Node> = Box::default();
    populate(depth, &mut long_lived);
    let mut array = vec![0.0; doubles as usize];
    for (i, value) in array[..doubles as usize / 2].iter_mut().enumerate() {
        *value = 1.0 / (i + 1) as f64;
    }
    for d in (4..=depth).step_by(2) {
        let trees = 2 * tree_size(depth + 2) / tree_size(d);
        let mut sum = 0;
        for _ in 0..trees {
            let mut root: Box<Node> = Box::default();
            populate(d, &mut root);
            sum += spine(&root);
        }
        for _ in 0..trees {
            sum += spine(&bottom_up(d));
        }
        check.add(sum);
    }
    check.add(count(&Some(long_lived)));
    check.add((1.0 / array[doubles as usize / 4]) as u64);
    Outcome { check: check.value(), ..Outcome::default() }
}
