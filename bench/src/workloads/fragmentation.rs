//! fragmentation: small survivors and growing sizes.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Threads};
use crate::report::Outcome;

pub(super) const CASES: &[Case] = &[Case {
    name: "fragmentation",
    about: "fill, free nine of ten at random, double the sizes, six times",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::Metric("peak_over_live"),
    representative: true,
    peers: &Runtime::PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("live_bytes", 400_000), ("rounds", 6)],
        Scale::Quick => &[("live_bytes", 100_000_000), ("rounds", 6)],
        Scale::Full => &[("live_bytes", 400_000_000), ("rounds", 6)],
    }
}

fn run(_run: &Run) -> Result<Outcome, RunError> {
    Err(RunError::NotAvailable)
}
