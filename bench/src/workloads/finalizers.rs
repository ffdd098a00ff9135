//! finalizers: objects whose death is told.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Threads};
use crate::report::Outcome;

pub(super) const CASES: &[Case] = &[Case {
    name: "finalizers",
    about: "finalizers, cleanups and a weak intern table",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    representative: true,
    peers: &[Runtime::Go, Runtime::Libgc],
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("objects", 2_000), ("keys", 256), ("operations", 4_000)],
        Scale::Quick => &[("objects", 250_000), ("keys", 65_536), ("operations", 500_000)],
        Scale::Full => &[("objects", 1_000_000), ("keys", 262_144), ("operations", 2_000_000)],
    }
}

fn run(_run: &Run) -> Result<Outcome, RunError> {
    Err(RunError::NotAvailable)
}
