//! full-mark: forced full collections of a heap that does not change.
//!
//! | variant | objects | references |
//! | --- | --- | --- |
//! | list | 16 B | the one made before |
//! | shuffled-list | 16 B | the next in random order |
//! | graph | 40 B | 2i+1 and 2i+2 (so that all are reachable), and two random ones |
//! | wide-tree | 128 B | 15i+1 .. 15i+15 |
//! | map | 24 B entries in chains, 16 B boxes without references | next entry, box; one bucket a word |
//!
//! `objects` of them (of each kind in the map), `collections` collections, the first of which does not count: the
//! figures are the median CPU time of a collection per object, and its wall time. A traversal afterwards gives the
//! check value. Runtimes that free explicitly have nothing to do here.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Threads};
use crate::report::Outcome;

const CASE: Case = Case {
    name: "full-mark/list",
    about: "full collection of a list in allocation order",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::Metric("mark_cpu_ns_per_object"),
    representative: false,
    peers: &[Runtime::Go, Runtime::Libgc],
    run,
};

pub(super) const CASES: &[Case] = &[
    CASE,
    Case {
        name: "full-mark/shuffled-list",
        about: "full collection of a list in random order",
        ..CASE
    },
    Case {
        name: "full-mark/graph",
        about: "full collection of a random graph",
        representative: true,
        ..CASE
    },
    Case {
        name: "full-mark/wide-tree",
        about: "full collection of a tree with 15 children a node",
        ..CASE
    },
    Case {
        name: "full-mark/map",
        about: "full collection of a hash table with boxed values",
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

fn run(_run: &Run) -> Result<Outcome, RunError> {
    Err(RunError::NotAvailable)
}
