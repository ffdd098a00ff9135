//! binary-trees: many complete binary trees of all depths, and one that stays.
//!
//! A stretch tree one level deeper than `depth` is built and dropped, a tree of `depth` is kept; then for
//! d = 4, 6, .. `depth`, 2^(depth - d + 4) trees of depth d are built, counted and dropped. A node is
//! two references, 16 bytes. With several threads, tree i of a depth belongs to thread i mod threads.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Threads};
use crate::report::Outcome;

pub(super) const CASES: &[Case] = &[Case {
    name: "binary-trees",
    about: "complete binary trees of all depths, one of them long-lived",
    threads: Threads { default: 1, max: 64 },
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    representative: true,
    peers: &Runtime::PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("depth", 8)],
        Scale::Quick => &[("depth", 18)],
        Scale::Full => &[("depth", 21)],
    }
}

fn run(_run: &Run) -> Result<Outcome, RunError> {
    Err(RunError::NotAvailable)
}
