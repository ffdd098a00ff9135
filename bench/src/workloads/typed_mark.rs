//! typed-mark: forced full collections of nodes with two references, on the safe interface.
//!
//! | variant | node i, in the order of allocation, refers to |
//! | --- | --- |
//! | tree | its children in a complete binary tree, made depth first |
//! | graph | p(2 q(i) + 1) and p(2 q(i) + 2), with p a random permutation and q its inverse: the same tree, strewn |
//!
//! `objects` of them, `collections` collections, the first of which does not count. The figure is the median CPU time of a whole
//! collection, sweeping included, per object; where a runtime can mark by itself, that too. Counting the nodes afterwards gives the
//! check value.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{outcome_of, settings};
use crate::host::Stopwatch;
use crate::random::{Digest, Random};
use crate::report::Outcome;
use mallocgc::raw::{Config, Force};
use mallocgc::typed::{Cx, Gc, Heap, Root, Slot, Trace};

const CASE: Case = Case {
    name: "typed-mark/tree",
    about: "full collection of a tree, in order, on the safe interface",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::Metric("collection_cpu_ns_per_object"),
    set: Some(Set::Typed),
    peers: &[Runtime::Go, Runtime::GcArena, Runtime::GcArenaMimalloc],
    run,
};

pub(super) const CASES: &[Case] = &[
    CASE,
    Case {
        name: "typed-mark/graph",
        about: "full collection of strewn nodes, on the safe interface",
        ..CASE
    },
];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("objects", 1_000), ("collections", 2)],
        Scale::Quick => &[("objects", 1_000_000), ("collections", 6)],
        Scale::Full => &[("objects", 10_000_000), ("collections", 6)],
    }
}

#[derive(Trace, Default)]
struct Node<'gc> {
    left: Slot<Option<Gc<'gc, Node<'gc>>>>,
    right: Slot<Option<Gc<'gc, Node<'gc>>>>,
}

/// The part of a complete tree of n nodes below node i, made depth first.
fn new_tree<'gc>(cx: &Cx<'gc>, i: u64, n: u64) -> Option<Gc<'gc, Node<'gc>>> {
    if i >= n {
        return None;
    }
    let node = Gc::new(cx, Node::default());
    node.left.set(cx, new_tree(cx, 2 * i + 1, n));
    node.right.set(cx, new_tree(cx, 2 * i + 2, n));
    Some(node)
}

/// The same tree of nodes that lie anywhere.
fn new_graph<'gc>(cx: &Cx<'gc>, n: usize) -> Option<Gc<'gc, Node<'gc>>> {
    let mut nodes: Vec<_> = (0..n).map(|_| Gc::new(cx, Node::default())).collect();
    let mut order = Random::new(1);
    for i in (1..n).rev() {
        nodes.swap(i, order.below(i as u64 + 1) as usize);
    }
    for (i, node) in nodes.iter().enumerate() {
        node.left.set(cx, nodes.get(2 * i + 1).copied());
        node.right.set(cx, nodes.get(2 * i + 2).copied());
    }
    nodes.first().copied()
}

fn count(node: &Node<'_>) -> u64 {
    let count = |child: &Slot<Option<Gc<'_, Node<'_>>>>| child.get().map_or(0, |node| count(&node));
    1 + count(&node.left) + count(&node.right)
}

/// Median of all but the first.
fn median_of_rest(mut figures: Vec<u64>) -> f64 {
    figures.remove(0);
    figures.sort();
    figures[figures.len() / 2] as f64
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let n = run.number("objects")?;
    let collections = run.number("collections")?;
    let config = settings(Config::default());
    let heap = Heap::new(config).map_err(RunError::failed("heap"))?;
    let root: Root<Node<'static>> = heap.run(|cx| {
        let root = match run.variant() {
            "tree" => new_tree(cx, 0, n),
            _ => new_graph(cx, n as usize),
        };
        cx.root(root.expect("there are objects"))
    });
    let (mut marking, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..collections {
        let clock = Stopwatch::start();
        heap.raw().gc(Force::Now).map_err(RunError::failed("collection"))?;
        marking.push(clock.cpu_nanos());
        let clock = Stopwatch::start();
        heap.try_collect().map_err(RunError::failed("collection"))?;
        whole.push(clock.cpu_nanos());
    }
    let mut check = Digest::new();
    check.add(heap.run(|cx| count(&root.get(cx))));
    let mut outcome = outcome_of(heap.raw(), check.value());
    outcome.metric("collection_cpu_ns_per_object", median_of_rest(whole) / n as f64);
    outcome.metric("mark_cpu_ns_per_object", median_of_rest(marking) / n as f64);
    Ok(outcome)
}
