//! large-objects: blocks.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Threads};
use crate::report::Outcome;

pub(super) const CASES: &[Case] = &[Case {
    name: "large-objects",
    about: "blocks of 64 KiB to 64 MiB, and what stays resident after them",
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
        Scale::Smoke => &[("operations", 6), ("idle_millis", 1)],
        Scale::Quick => &[("operations", 100), ("idle_millis", 3_000)],
        Scale::Full => &[("operations", 1_000), ("idle_millis", 3_000)],
    }
}

fn run(_run: &Run) -> Result<Outcome, RunError> {
    Err(RunError::NotAvailable)
}
