//! gcbench: the classical Boehm, Ellis and Kovac benchmark, one thread.
//!
//! A stretch tree of `depth` + 2 is built bottom-up and dropped; a tree of `depth` and an array of `doubles` floats
//! stay. Then for d = 4, 6, .. `depth`, as many trees of depth d as hold two stretch trees' nodes are built
//! top-down (children linked into parents that exist) and again as many bottom-up. A node is two
//! references and two 32-bit numbers, 24 bytes.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{OrExhausted, Session, object};
use crate::random::Digest;
use crate::report::Outcome;
use mallocgc::raw::{AllocClass, AllocFlags, Layout, Mutator, TypeLayout};

pub(super) const CASES: &[Case] = &[Case {
    name: "gcbench",
    about: "trees built top-down and bottom-up beside a long-lived tree and a large array",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    set: Some(Set::Representative),
    peers: &Runtime::HEAP_PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("depth", 8), ("doubles", 1_000)],
        Scale::Quick => &[("depth", 18), ("doubles", 1_000_000)],
        Scale::Full => &[("depth", 20), ("doubles", 4_000_000)],
    }
}

#[repr(C)]
struct Node {
    left: *mut Node,
    right: *mut Node,
    i: u32,
    j: u32,
}

/// Makes nodes; trees are safe from one poll to the next.
struct Maker<'m> {
    mutator: &'m Mutator,
    class: AllocClass,
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let depth = run.number("depth")?;
    let doubles = run.number("doubles")? as usize;
    let session = Session::new()?;
    let mutator = &session.attach()?;
    let layout = session.layout(&TypeLayout::mask(3, 0b011))?;
    let class = mutator
        .alloc_class(size_of::<Node>(), layout)
        .map_err(RunError::failed("class of nodes"))?;
    let maker = Maker { mutator, class };

    let mut check = Digest::new();
    check.add(spine(maker.bottom_up(depth + 2)));
    mutator.poll();
    let long_lived = maker.top_down(depth);
    mutator.push_root(object(long_lived));
    let array: *mut f64 = mutator
        .mallocgc(doubles * size_of::<f64>(), Layout::NOSCAN, AllocFlags::NONE)
        .or_exhausted();
    mutator.push_root(object(array));
    for i in 0..doubles / 2 {
        // SAFETY: the array has `doubles` numbers and is rooted.
        unsafe { array.add(i).write(1.0 / (i + 1) as f64) };
    }
    for d in (4..=depth).step_by(2) {
        let trees = 2 * tree_size(depth + 2) / tree_size(d);
        let mut sum = 0;
        for _ in 0..trees {
            sum += spine(maker.top_down(d));
            mutator.poll();
        }
        for _ in 0..trees {
            sum += spine(maker.bottom_up(d));
            mutator.poll();
        }
        check.add(sum);
    }
    check.add(count(long_lived));
    // SAFETY: as above.
    let sample = unsafe { array.add(doubles / 4).read() };
    check.add((1.0 / sample) as u64);
    Ok(session.outcome(check.value()))
}

fn tree_size(depth: u64) -> u64 {
    (2 << depth) - 1
}

impl Maker<'_> {
    #[inline(always)]
    fn node(&self) -> *mut Node {
        self.mutator.alloc(self.class).or_exhausted()
    }

    /// Links children into `node`.
    #[inline(always)]
    fn link(&self, node: *mut Node, left: *mut Node, right: *mut Node) {
        // SAFETY: all three were made since the last poll.
        let slots = unsafe { (&raw mut (*node).left, &raw mut (*node).right) };
        // SAFETY: by the layout the word is a reference.
        unsafe { self.mutator.write(slots.0.cast(), left.cast()) };
        // SAFETY: as above.
        unsafe { self.mutator.write(slots.1.cast(), right.cast()) };
    }

    fn top_down(&self, depth: u64) -> *mut Node {
        let root = self.node();
        self.populate(depth, root);
        root
    }

    /// Builds top-down, into a node that exists.
    fn populate(&self, depth: u64, node: *mut Node) {
        // SAFETY: made since the last poll; the word is a plain number.
        unsafe { (*node).i = depth as u32 };
        if depth == 0 {
            return;
        }
        let (left, right) = (self.node(), self.node());
        self.link(node, left, right);
        self.populate(depth - 1, left);
        self.populate(depth - 1, right);
    }

    /// Builds the children before their parent.
    fn bottom_up(&self, depth: u64) -> *mut Node {
        if depth == 0 {
            return self.node();
        }
        let (left, right) = (self.bottom_up(depth - 1), self.bottom_up(depth - 1));
        let node = self.node();
        self.link(node, left, right);
        // SAFETY: just made; the word is a plain number.
        unsafe { (*node).i = depth as u32 };
        node
    }
}

/// Adds up a tree's left edge.
fn spine(mut node: *const Node) -> u64 {
    let mut sum = 0;
    // SAFETY: callers pass trees made since the last poll.
    while let Some(n) = unsafe { node.as_ref() } {
        sum += u64::from(n.i) + 1;
        node = n.left;
    }
    sum
}

fn count(node: *const Node) -> u64 {
    // SAFETY: callers pass trees that are rooted.
    match unsafe { node.as_ref() } {
        None => 0,
        Some(node) => 1 + count(node.left) + count(node.right),
    }
}
