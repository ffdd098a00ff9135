//! The workloads of the safe interface on gc-arena. Where ours has a boundary, its arena works off its debt.

use crate::host::{Stopwatch, resident_bytes};
use crate::random::{Digest, Random};
use crate::support::{Outcome, Run, fail};
use gc_arena::{Arena, Collect, Gc, Lock, Mutation, Rootable};

#[derive(Collect)]
#[collect(no_drop)]
struct Node<'gc> {
    left: Option<Gc<'gc, Node<'gc>>>,
    right: Option<Gc<'gc, Node<'gc>>>,
}

fn new_tree<'gc>(mc: &Mutation<'gc>, depth: u64) -> Gc<'gc, Node<'gc>> {
    if depth == 0 {
        return Gc::new(mc, Node { left: None, right: None });
    }
    let (left, right) = (new_tree(mc, depth - 1), new_tree(mc, depth - 1));
    Gc::new(mc, Node { left: Some(left), right: Some(right) })
}

fn count(node: &Node<'_>) -> u64 {
    match (&node.left, &node.right) {
        (Some(left), Some(right)) => 1 + count(left) + count(right),
        _ => 1,
    }
}

pub fn trees(run: &Run) -> Outcome {
    type Root = Rootable![Option<Gc<'_, Node<'_>>>];
    if run.threads != 1 {
        fail("an arena is one thread's");
    }
    let depth = run.number("depth");
    let mut arena = Arena::<Root>::new(|_| None);
    let mut check = Digest::new();
    check.add(arena.mutate(|mc, _| count(&new_tree(mc, depth + 1))));
    arena.collect_debt();
    arena.mutate_root(|mc, root| *root = Some(new_tree(mc, depth)));
    for d in (4..=depth).step_by(2) {
        let trees = 1u64 << (depth - d + 4);
        let mut sum = 0;
        for _ in 0..trees {
            sum += arena.mutate(|mc, _| count(&new_tree(mc, d)));
            arena.collect_debt();
        }
        check.add(sum);
    }
    check.add(arena.mutate(|_, root| root.as_deref().map_or(0, count)));
    Outcome { check: check.value(), ..Outcome::default() }
}

#[derive(Collect)]
#[collect(no_drop)]
struct Changing<'gc> {
    left: Lock<Option<Gc<'gc, Changing<'gc>>>>,
    right: Lock<Option<Gc<'gc, Changing<'gc>>>>,
}

type Place<'gc> = Option<Gc<'gc, Changing<'gc>>>;

impl<'gc> Changing<'gc> {
    fn make(mc: &Mutation<'gc>) -> Gc<'gc, Changing<'gc>> {
        Gc::new(mc, Changing { left: Lock::new(None), right: Lock::new(None) })
    }

    fn set(this: Gc<'gc, Self>, mc: &Mutation<'gc>, left: Place<'gc>, right: Place<'gc>) {
        let this = Gc::write(mc, this);
        gc_arena::barrier::field!(this, Changing, left).unlock().set(left);
        gc_arena::barrier::field!(this, Changing, right).unlock().set(right);
    }
}

/// The part of a complete tree of n nodes below node i, made depth first.
fn new_tree_below<'gc>(mc: &Mutation<'gc>, i: u64, n: u64) -> Place<'gc> {
    if i >= n {
        return None;
    }
    let node = Changing::make(mc);
    let left = new_tree_below(mc, 2 * i + 1, n);
    let right = new_tree_below(mc, 2 * i + 2, n);
    Changing::set(node, mc, left, right);
    Some(node)
}

/// The same tree of nodes that lie anywhere.
fn new_strewn_tree<'gc>(mc: &Mutation<'gc>, n: usize) -> Place<'gc> {
    let mut nodes: Vec<_> = (0..n).map(|_| Changing::make(mc)).collect();
    let mut order = Random::new(1);
    for i in (1..n).rev() {
        nodes.swap(i, order.below(i as u64 + 1) as usize);
    }
    for (i, &node) in nodes.iter().enumerate() {
        let (left, right) = (nodes.get(2 * i + 1).copied(), nodes.get(2 * i + 2).copied());
        Changing::set(node, mc, left, right);
    }
    nodes.first().copied()
}

fn count_changing(node: Place<'_>) -> u64 {
    node.map_or(0, |node| 1 + count_changing(node.left.get()) + count_changing(node.right.get()))
}

/// Median of all but the first.
fn median_of_rest(mut figures: Vec<u64>) -> f64 {
    figures.remove(0);
    figures.sort();
    figures[figures.len() / 2] as f64
}

pub fn mark(run: &Run) -> Outcome {
    type Root = Rootable![Place<'_>];
    let n = run.number("objects");
    let mut arena = Arena::<Root>::new(|mc| match run.variant() {
        "tree" => new_tree_below(mc, 0, n),
        _ => new_strewn_tree(mc, n as usize),
    });
    // What allocation has begun.
    arena.finish_cycle();
    let (mut marking, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..run.number("collections") {
        let clock = Stopwatch::start();
        drop(arena.finish_marking());
        marking.push(clock.cpu_nanos());
        arena.finish_cycle();
        let clock = Stopwatch::start();
        arena.finish_cycle();
        whole.push(clock.cpu_nanos());
    }
    let mut check = Digest::new();
    check.add(arena.mutate(|_, root| count_changing(*root)));
    let mut outcome = Outcome { check: check.value(), ..Outcome::default() };
    outcome.metric("collection_cpu_ns_per_object", median_of_rest(whole) / n as f64);
    outcome.metric("mark_cpu_ns_per_object", median_of_rest(marking) / n as f64);
    outcome
}

/// A list: the node before, and the first one.
#[derive(Collect)]
#[collect(no_drop)]
struct Link<'gc> {
    next: Option<Gc<'gc, Link<'gc>>>,
    first: Option<Gc<'gc, Link<'gc>>>,
}

/// How many nodes of a list know its first one, which itself does not.
fn count_links<'gc>(last: Gc<'gc, Link<'gc>>) -> u64 {
    let knows = |node: Gc<'gc, Link<'gc>>| match (node.first, last.first) {
        (Some(node), Some(first)) => u64::from(Gc::ptr_eq(node, first)),
        _ => 0,
    };
    std::iter::successors(Some(last), |node| node.next).map(knows).sum()
}

pub fn bytes(run: &Run) -> Outcome {
    type Root = Rootable![Gc<'_, Link<'_>>];
    let objects = run.number("objects");
    let before = resident_bytes();
    let clock = Stopwatch::start();
    let mut arena = Arena::<Root>::new(|mc| Gc::new(mc, Link { next: None, first: None }));
    for _ in 1..objects {
        arena.mutate_root(|mc, root| {
            let last = *root;
            let first = Some(last.first.unwrap_or(last));
            *root = Gc::new(mc, Link { next: Some(last), first });
        });
        arena.collect_debt();
    }
    let nanos = clock.cpu_nanos() as f64 / objects as f64;
    let end = resident_bytes();
    let check = arena.mutate(|_, &root| count_links(root));
    let mut outcome = Outcome { check, resident_end_bytes: Some(end), ..Outcome::default() };
    outcome.metric("ns_per_object", nanos);
    let bytes = end.saturating_sub(before) as f64;
    outcome.metric("resident_bytes_per_object", bytes / objects as f64);
    outcome
}
