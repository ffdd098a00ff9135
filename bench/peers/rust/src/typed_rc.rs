//! The workloads of the safe interface with reference counts.

use crate::host::{Stopwatch, resident_bytes};
use crate::random::Digest;
use crate::support::{Outcome, Run, fail};
use std::rc::Rc;

struct Node {
    left: Option<Rc<Node>>,
    right: Option<Rc<Node>>,
}

fn new_tree(depth: u64) -> Rc<Node> {
    if depth == 0 {
        return Rc::new(Node { left: None, right: None });
    }
    let (left, right) = (new_tree(depth - 1), new_tree(depth - 1));
    Rc::new(Node { left: Some(left), right: Some(right) })
}

fn count(node: &Node) -> u64 {
    match (&node.left, &node.right) {
        (Some(left), Some(right)) => 1 + count(left) + count(right),
        _ => 1,
    }
}

pub fn trees(run: &Run) -> Outcome {
    if run.threads != 1 {
        fail("reference counts are one thread's");
    }
    let depth = run.number("depth");
    let mut check = Digest::new();
    check.add(count(&new_tree(depth + 1)));
    let long_lived = new_tree(depth);
    for d in (4..=depth).step_by(2) {
        let trees = 1u64 << (depth - d + 4);
        check.add((0..trees).map(|_| count(&new_tree(d))).sum());
    }
    check.add(count(&long_lived));
    Outcome { check: check.value(), ..Outcome::default() }
}

/// A list: the node before, and the first one.
struct Link {
    next: Option<Rc<Link>>,
    first: Option<Rc<Link>>,
}

pub fn bytes(run: &Run) -> Outcome {
    let objects = run.number("objects");
    let before = resident_bytes();
    let clock = Stopwatch::start();
    let mut last = Rc::new(Link { next: None, first: None });
    for _ in 1..objects {
        let first = Some(last.first.as_ref().unwrap_or(&last).clone());
        last = Rc::new(Link { next: Some(last), first });
    }
    let nanos = clock.cpu_nanos() as f64 / objects as f64;
    let end = resident_bytes();
    let knows = |node: &Rc<Link>| match (&node.first, &last.first) {
        (Some(node), Some(first)) => u64::from(Rc::ptr_eq(node, first)),
        _ => 0,
    };
    let check = std::iter::successors(Some(&last), |node| node.next.as_ref()).map(knows).sum();
    // Dropped, the list would drop its nodes by recursion.
    std::mem::forget(last);
    let mut outcome = Outcome { check, resident_end_bytes: Some(end), ..Outcome::default() };
    outcome.metric("ns_per_object", nanos);
    let bytes = end.saturating_sub(before) as f64;
    outcome.metric("resident_bytes_per_object", bytes / objects as f64);
    outcome
}
