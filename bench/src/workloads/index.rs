//! index: words of real files.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Threads};
use crate::report::Outcome;

pub(super) const CASES: &[Case] = &[Case {
    name: "index",
    about: "an inverted index and a trie over real text files, served while files change",
    threads: Threads::ONE,
    parameters,
    reads_input: true,
    measure: Measure::ProcessCpu,
    representative: true,
    peers: &Runtime::PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("input_bytes", 200_000), ("queries", 400)],
        Scale::Quick => &[("input_bytes", 32 << 20), ("queries", 4_000)],
        Scale::Full => &[("input_bytes", 1 << 40), ("queries", 20_000)],
    }
}

fn run(_run: &Run) -> Result<Outcome, RunError> {
    Err(RunError::NotAvailable)
}
