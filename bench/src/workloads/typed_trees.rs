//! typed-trees: the trees of `binary-trees` on the safe interface.
//!
//! A stretch tree one level deeper than `depth` is built and dropped, a tree of `depth` is kept; then for
//! d = 4, 6, .. `depth`, 2^(depth - d + 4) trees of depth d are built, counted and dropped, each in a `run` of its own. A node is
//! two references, 16 bytes. With several threads, tree i of a depth belongs to thread i mod threads.
//!
//! `scaling` does it on one thread and then on two, and compares the times: 0.5 would be twice the speed. Processor time says what
//! threads cost each other even where other programs have the processors. `fork` does it with threads inside one `run`, which make
//! some thousand nodes each before it ends.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{outcome_of, settings};
use crate::host::Stopwatch;
use crate::random::Digest;
use crate::report::Outcome;
use mallocgc::raw::Config;
use mallocgc::typed::{Accepts, Cx, Gc, Heap, Kind, Mutator, Root, Shared, SharedHeap, Trace};

const CASE: Case = Case {
    name: "typed-trees",
    about: "complete binary trees on the safe interface",
    threads: Threads { default: 1, max: 64 },
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    set: Some(Set::Typed),
    peers: &Runtime::TYPED_PEERS,
    run,
};

pub(super) const CASES: &[Case] = &[
    CASE,
    Case {
        name: "typed-trees/scaling",
        about: "the same on two threads, to the time of one",
        threads: Threads { default: 2, max: 2 },
        measure: Measure::Metric("wall_two_to_one"),
        peers: &[Runtime::Go],
        ..CASE
    },
    Case {
        name: "typed-trees/fork",
        about: "the same with both threads inside one `run`",
        threads: Threads { default: 2, max: 2 },
        measure: Measure::Metric("wall_two_to_one"),
        peers: &[],
        ..CASE
    },
];

/// Nodes that a thread makes inside one `run`, about: far more than starting the thread costs.
const FORKED_NODES: u64 = 1 << 19;

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("depth", 8)],
        Scale::Quick => &[("depth", 18)],
        Scale::Full => &[("depth", 21)],
    }
}

#[derive(Trace)]
struct Node<'gc> {
    left: Option<Gc<'gc, Node<'gc>>>,
    right: Option<Gc<'gc, Node<'gc>>>,
}

fn new_tree<'gc, K>(cx: &Cx<'gc, K>, depth: u64) -> Gc<'gc, Node<'gc>>
where
    K: Kind + Accepts<Node<'gc>>,
{
    if depth == 0 {
        return Gc::new(cx, Node { left: None, right: None });
    }
    let (left, right) = (new_tree(cx, depth - 1), new_tree(cx, depth - 1));
    Gc::new(cx, Node { left: Some(left), right: Some(right) })
}

fn count(node: &Node<'_>) -> u64 {
    match (&node.left, &node.right) {
        (Some(left), Some(right)) => 1 + count(left) + count(right),
        _ => 1,
    }
}

/// Counts the nodes of every `step`th tree of a depth, from the tree `first` on.
fn count_trees<K>(mutator: &Mutator<K>, depth: u64, trees: u64, first: u64, step: u64) -> u64
where
    K: Kind + for<'gc> Accepts<Node<'gc>>,
{
    let trees = (first..trees).step_by(step as usize);
    trees.map(|_| mutator.run(|cx| count(&new_tree(cx, depth)))).sum()
}

/// All trees but those of the depths, on one thread; `middle` does these.
fn around<K>(mutator: &Mutator<K>, depth: u64, middle: impl FnOnce(&mut Digest)) -> Digest
where
    K: Kind + for<'gc> Accepts<Node<'gc>>,
{
    let mut check = Digest::new();
    check.add(mutator.run(|cx| count(&new_tree(cx, depth + 1))));
    let long_lived: Root<Node<'static>> = mutator.run(|cx| cx.root(new_tree(cx, depth)));
    middle(&mut check);
    check.add(mutator.run(|cx| count(&long_lived.get(cx))));
    check
}

/// The depths, and how many trees there are of each.
fn depths(depth: u64) -> impl Iterator<Item = (u64, u64)> {
    (4..=depth).step_by(2).map(move |d| (d, 1 << (depth - d + 4)))
}

fn on_one_thread(heap: &Heap, depth: u64) -> Digest {
    around(heap, depth, |check| {
        for (d, trees) in depths(depth) {
            check.add(count_trees(heap, d, trees, 0, 1));
        }
    })
}

fn on_threads(heap: &SharedHeap, depth: u64, threads: u64) -> Result<Digest, RunError> {
    let mutator = heap.attach().map_err(RunError::failed("attach"))?;
    Ok(around(&mutator, depth, |check| {
        for (d, trees) in depths(depth) {
            // This thread is at a boundary meanwhile, and stops nobody.
            check.add(std::thread::scope(|scope| {
                let count = |thread| {
                    let mutator = heap.attach().expect("one more mutator");
                    count_trees(&mutator, d, trees, thread, threads)
                };
                let running: Vec<_> =
                    (0..threads).map(|thread| scope.spawn(move || count(thread))).collect();
                running.into_iter().map(|thread| thread.join().expect("no panic")).sum()
            }));
        }
    }))
}

fn on_forked_threads(heap: &SharedHeap, depth: u64, threads: u64) -> Result<Digest, RunError> {
    let mutator = heap.attach().map_err(RunError::failed("attach"))?;
    let count = |cx: &Cx<'_, Shared>, depth: u64, trees: u64| -> u64 {
        (0..trees).map(|_| count(&new_tree(cx, depth))).sum()
    };
    Ok(around(&mutator, depth, |check| {
        for (d, trees) in depths(depth) {
            let (mut left, mut nodes) = (trees, 0);
            while left > 0 {
                let all = left.min(threads * (FORKED_NODES >> (d + 1)).max(1));
                left -= all;
                nodes += mutator.run(|cx| {
                    cx.fork(|fork| {
                        let mut shares = (0..threads).map(|thread| (all + thread) / threads);
                        let own = shares.next().expect("one thread at least");
                        let forked: Vec<_> = shares
                            .map(|share| fork.spawn(move |cx| count(cx, d, share)))
                            .map(|thread| thread.expect("one more thread"))
                            .collect();
                        let own = count(cx, d, own);
                        let others = forked.into_iter().map(|thread| thread.join());
                        own + others.map(|nodes| nodes.expect("no panic")).sum::<u64>()
                    })
                });
            }
            check.add(nodes);
        }
    }))
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let depth = run.number("depth")?;
    let config = settings(Config::default());
    if run.variant() != "" {
        let work = if run.variant() == "fork" { on_forked_threads } else { on_threads };
        let times = |threads| -> Result<_, RunError> {
            let heap = SharedHeap::new(config.clone()).map_err(RunError::failed("heap"))?;
            let clock = Stopwatch::start();
            let check = work(&heap, depth, threads)?;
            Ok((clock.wall_nanos() as f64, clock.cpu_nanos() as f64, heap, check))
        };
        let (wall, cpu, _, check_of_one) = times(1)?;
        let (wall_of_two, cpu_of_two, heap, check) = times(2)?;
        assert_eq!(check.value(), check_of_one.value(), "the trees are the same");
        let mut outcome = outcome_of(heap.raw(), check.value());
        outcome.metric("wall_two_to_one", wall_of_two / wall);
        outcome.metric("cpu_two_to_one", cpu_of_two / cpu);
        return Ok(outcome);
    }
    if run.threads == 1 {
        let heap = Heap::new(config).map_err(RunError::failed("heap"))?;
        let check = on_one_thread(&heap, depth);
        return Ok(outcome_of(heap.raw(), check.value()));
    }
    let heap = SharedHeap::new(config).map_err(RunError::failed("heap"))?;
    let check = on_threads(&heap, depth, u64::from(run.threads))?;
    Ok(outcome_of(heap.raw(), check.value()))
}
