//! typed-bytes: memory of small objects that stay, on the safe interface.
//!
//! A list of `objects` nodes of two references, 16 bytes, each made in a `run` of its own. The figure is by how much the resident
//! memory has grown, per object.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{outcome_of, settings};
use crate::host::{Stopwatch, resident_bytes};
use crate::report::Outcome;
use mallocgc::raw::Config;
use mallocgc::typed::{Gc, Heap, Root, Trace};

pub(super) const CASES: &[Case] = &[Case {
    name: "typed-bytes",
    about: "resident bytes of objects of 16 bytes, on the safe interface",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::Metric("resident_bytes_per_object"),
    set: Some(Set::Typed),
    peers: &Runtime::TYPED_PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("objects", 10_000)],
        Scale::Quick => &[("objects", 4_000_000)],
        Scale::Full => &[("objects", 40_000_000)],
    }
}

/// A list: the node before, and the first one.
#[derive(Trace)]
struct Node<'gc> {
    next: Option<Gc<'gc, Node<'gc>>>,
    first: Option<Gc<'gc, Node<'gc>>>,
}

/// How many nodes of a list know its first one, which itself does not.
fn count<'gc>(last: Gc<'gc, Node<'gc>>) -> u64 {
    let knows = |node: Gc<'gc, Node<'gc>>| match (node.first, last.first) {
        (Some(node), Some(first)) => u64::from(Gc::ptr_eq(node, first)),
        _ => 0,
    };
    std::iter::successors(Some(last), |node| node.next).map(knows).sum()
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let objects = run.number("objects")?;
    let config = settings(Config::default());
    let heap = Heap::new(config).map_err(RunError::failed("heap"))?;
    let before = resident_bytes();
    let clock = Stopwatch::start();
    let root: Root<Node<'static>> =
        heap.run(|cx| cx.root(Gc::new(cx, Node { next: None, first: None })));
    for _ in 1..objects {
        heap.run(|cx| {
            let last = root.get(cx);
            let first = Some(last.first.unwrap_or(last));
            root.set(cx, Gc::new(cx, Node { next: Some(last), first }));
        });
    }
    let nanos = clock.cpu_nanos() as f64 / objects as f64;
    let end = resident_bytes();
    let count = heap.run(|cx| count(root.get(cx)));
    let mut outcome = outcome_of(heap.raw(), count);
    outcome.resident_end_bytes = Some(end);
    outcome.metric("ns_per_object", nanos);
    let bytes = end.saturating_sub(before) as f64;
    outcome.metric("resident_bytes_per_object", bytes / objects as f64);
    Ok(outcome)
}
