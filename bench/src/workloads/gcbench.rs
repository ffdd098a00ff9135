//! gcbench: the classical Boehm, Ellis and Kovac benchmark, one thread.
//!
//! A stretch tree of `depth` + 2 is built bottom-up and dropped; a tree of `depth` and an array of `doubles` floats
//! stay. Then for d = 4, 6, .. `depth`, as many trees of depth d as hold two stretch trees' nodes are built
//! top-down (children linked into parents that exist) and again as many bottom-up. A node is two
//! references and two 32-bit numbers, 24 bytes.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Threads};
use crate::report::Outcome;

pub(super) const CASES: &[Case] = &[Case {
    name: "gcbench",
    about: "trees built top-down and bottom-up beside a long-lived tree and a large array",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    representative: true,
    peers: &Runtime::PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("depth", 8), ("doubles", 1_000)],
        Scale::Quick => &[("depth", 18), ("doubles", 1_000_000)],
        Scale::Full => &[("depth", 20), ("doubles", 4_000_000)],
    }
}

fn run(_run: &Run) -> Result<Outcome, RunError> {
    Err(RunError::NotAvailable)
}
