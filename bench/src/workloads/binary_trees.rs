//! binary-trees: many complete binary trees of all depths, and one that stays.
//!
//! A stretch tree one level deeper than `depth` is built and dropped, a tree of `depth` is kept; then for
//! d = 4, 6, .. `depth`, 2^(depth - d + 4) trees of depth d are built, counted and dropped. A node is
//! two references, 16 bytes. With several threads, tree i of a depth belongs to thread i mod threads.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{OrExhausted, Session, object};
use crate::random::Digest;
use crate::report::Outcome;
use mallocgc::raw::{AllocClass, Mutator, TypeLayout};

pub(super) const CASES: &[Case] = &[Case {
    name: "binary-trees",
    about: "complete binary trees of all depths, one of them long-lived",
    threads: Threads { default: 1, max: 64 },
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    set: Some(Set::Representative),
    peers: &Runtime::HEAP_PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("depth", 8)],
        Scale::Quick => &[("depth", 18)],
        Scale::Full => &[("depth", 21)],
    }
}

#[repr(C)]
struct Node {
    left: *mut Node,
    right: *mut Node,
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let depth = run.number("depth")?;
    let session = Session::new()?;
    let mut mutator = session.attach()?;
    let layout = session.layout(&TypeLayout::mask(2, 0b11))?;
    let class = mutator
        .alloc_class(size_of::<Node>(), layout)
        .map_err(RunError::failed("class of nodes"))?;

    let mut check = Digest::new();
    check.add(count(new_tree(&mutator, class, depth + 1)));
    mutator.poll();
    let long_lived = new_tree(&mutator, class, depth);
    mutator.push_root(object(long_lived));
    for d in (4..=depth).step_by(2) {
        let trees = 1u64 << (depth - d + 4);
        let counts = session.on_threads(&mut mutator, run.threads, |mutator, thread| {
            let mut sum = 0;
            for _ in (u64::from(thread)..trees).step_by(run.threads as usize) {
                sum += count(new_tree(mutator, class, d));
                mutator.poll();
            }
            sum
        });
        check.add(counts.iter().sum());
    }
    check.add(count(long_lived));
    Ok(session.outcome(check.value()))
}

fn new_tree(mutator: &Mutator, class: AllocClass, depth: u64) -> *mut Node {
    let node: *mut Node = mutator.alloc(class).or_exhausted();
    if depth > 0 {
        let left = new_tree(mutator, class, depth - 1);
        let right = new_tree(mutator, class, depth - 1);
        // SAFETY: the node is fresh and zeroed, and of the layout of `Node`.
        let slots = unsafe { (&raw mut (*node).left, &raw mut (*node).right) };
        // SAFETY: its words are references, and no poll has come between.
        unsafe { mutator.write(slots.0.cast(), left.cast()) };
        // SAFETY: as above.
        unsafe { mutator.write(slots.1.cast(), right.cast()) };
    }
    node
}

fn count(node: *const Node) -> u64 {
    // SAFETY: callers pass nodes that are rooted, or made since the last poll.
    let node = unsafe { &*node };
    if node.left.is_null() { 1 } else { 1 + count(node.left) + count(node.right) }
}
