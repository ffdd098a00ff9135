//! lru-server: a cache and its requests.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Threads};
use crate::report::Outcome;

pub(super) const CASES: &[Case] = &[Case {
    name: "lru-server",
    about: "an LRU cache serving requests, most of whose objects die at once",
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
        Scale::Smoke => &[("entries", 1_000), ("requests", 5_000)],
        Scale::Quick => &[("entries", 100_000), ("requests", 500_000)],
        Scale::Full => &[("entries", 800_000), ("requests", 2_000_000)],
    }
}

fn run(_run: &Run) -> Result<Outcome, RunError> {
    Err(RunError::NotAvailable)
}
