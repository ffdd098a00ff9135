//! A workload as the catalogue lists it, and a request to run one.

use crate::host::{Stopwatch, peak_resident_bytes, resident_bytes};
use crate::report::{Outcome, RunReport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Who does the work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// This project's heap.
    Mallocgc,
    /// Go's runtime.
    Go,
    /// C on the Boehm collector.
    Libgc,
    /// The same program on this project's library of that name.
    DropIn,
    /// Rust with explicit freeing, on mimalloc.
    Mimalloc,
    /// Rust with explicit freeing, on the system's allocator.
    Malloc,
    /// Rust on the crate gc-arena, on the system's allocator.
    GcArena,
    /// Rust on the crate gc-arena, on mimalloc.
    GcArenaMimalloc,
    /// Rust with reference counts, on the system's allocator.
    Rc,
}

impl Runtime {
    /// The peers, in the order in which ratios look for their base.
    pub const PEERS: [Runtime; 7] = [
        Runtime::Go,
        Runtime::Libgc,
        Runtime::Mimalloc,
        Runtime::Malloc,
        Runtime::GcArena,
        Runtime::GcArenaMimalloc,
        Runtime::Rc,
    ];

    /// What the raw interface is compared with.
    pub const HEAP_PEERS: [Runtime; 5] =
        [Runtime::Go, Runtime::Libgc, Runtime::DropIn, Runtime::Mimalloc, Runtime::Malloc];

    /// What the safe interface is compared with.
    pub const TYPED_PEERS: [Runtime; 4] =
        [Runtime::Go, Runtime::GcArena, Runtime::GcArenaMimalloc, Runtime::Rc];

    /// The name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Mallocgc => "mallocgc",
            Runtime::Go => "go",
            Runtime::Libgc => "libgc",
            Runtime::DropIn => "drop-in",
            Runtime::Mimalloc => "mimalloc",
            Runtime::Malloc => "malloc",
            Runtime::GcArena => "gc-arena",
            Runtime::GcArenaMimalloc => "gc-arena-mimalloc",
            Runtime::Rc => "rc",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much of the work to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Milliseconds: only the check values mean anything. For tests.
    Smoke,
    /// 0.3 to 2 seconds in Go.
    Quick,
    /// As published measurements use it: seconds to minutes, and up to some GiB.
    Full,
}

/// Cases that are run together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Set {
    /// What runs when nothing is named.
    Representative,
    /// The safe interface.
    Typed,
}

/// How many threads a workload can use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Threads {
    /// When nobody asks for a number.
    pub default: u32,
    /// More are not used.
    pub max: u32,
}

impl Threads {
    /// For workloads whose work is one sequence.
    pub const ONE: Threads = Threads { default: 1, max: 1 };

    /// The number to use when `asked` are asked for.
    pub fn choose(self, asked: Option<u32>) -> u32 {
        asked.unwrap_or(self.default).clamp(1, self.max)
    }
}

/// The figure that decides a case: the one whose ratio is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// CPU time of the whole process.
    ProcessCpu,
    /// A metric of the report.
    Metric(&'static str),
}

impl Measure {
    /// The figure's name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Measure::ProcessCpu => "cpu_nanos",
            Measure::Metric(name) => name,
        }
    }

    /// The figure of one run.
    pub fn of(self, report: &RunReport) -> Option<f64> {
        match self {
            Measure::ProcessCpu => Some(report.cpu_nanos as f64),
            Measure::Metric(name) => report.metrics.get(name).copied(),
        }
    }
}

/// One line of the catalogue: a workload, or one variant of it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Name, with the variant behind a slash: `binary-trees`, `full-mark/graph`.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// How many threads it can use.
    pub threads: Threads,
    /// Sizes: what every program is told, the same for all.
    pub parameters: fn(Scale) -> &'static [(&'static str, u64)],
    /// Whether it reads files. Its parameter `input_bytes` limits their choice; programs get the parameter
    /// `list` in its place, a file with one path a line.
    pub reads_input: bool,
    /// The figure that decides.
    pub measure: Measure,
    /// The set it belongs to.
    pub set: Option<Set>,
    /// Peers that have a counterpart.
    pub peers: &'static [Runtime],
    /// The work on our heap.
    pub run: fn(&Run) -> Result<Outcome, RunError>,
}

impl Case {
    /// Name without the variant.
    pub fn workload(&self) -> &'static str {
        self.name.split_once('/').map_or(self.name, |(workload, _)| workload)
    }
}

/// One request: a case with its threads and parameters.
#[derive(Clone, Debug)]
pub struct Run {
    /// Name of the case.
    pub workload: String,
    /// Threads to use.
    pub threads: u32,
    /// Parameters by name.
    pub parameters: BTreeMap<String, String>,
}

impl Run {
    /// The numeric parameter `name`.
    pub fn number(&self, name: &'static str) -> Result<u64, RunError> {
        let text = self.text(name)?;
        text.parse().map_err(|_| RunError::BadParameter { name, value: text.to_owned() })
    }

    /// The parameter `name` as it was given.
    pub fn text(&self, name: &'static str) -> Result<&str, RunError> {
        self.parameters.get(name).map(String::as_str).ok_or(RunError::NoParameter(name))
    }

    /// What stands behind the slash of the workload's name.
    pub fn variant(&self) -> &str {
        self.workload.split_once('/').map_or("", |(_, variant)| variant)
    }

    /// Does the work on our heap and reports on it.
    pub fn perform(&self) -> Result<RunReport, RunError> {
        let case = crate::find(&self.workload)
            .ok_or_else(|| RunError::NoWorkload(self.workload.clone()))?;
        let clock = Stopwatch::start();
        let outcome = (case.run)(self)?;
        Ok(RunReport {
            workload: self.workload.clone(),
            runtime: Runtime::Mallocgc.name().to_owned(),
            check: RunReport::check_text(outcome.check),
            cpu_nanos: clock.cpu_nanos(),
            wall_nanos: clock.wall_nanos(),
            peak_rss_bytes: peak_resident_bytes(),
            resident_end_bytes: Some(outcome.resident_end_bytes.unwrap_or_else(resident_bytes)),
            collections: Some(outcome.collections),
            stop_max_nanos: Some(outcome.stop_max_nanos),
            stop_p99_nanos: Some(outcome.stop_p99_nanos),
            metrics: outcome.metrics,
        })
    }
}

/// Why a run gave no report.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The catalogue has no such workload.
    NoWorkload(String),
    /// Our heap does not have this workload yet.
    NotAvailable,
    /// A parameter is missing.
    NoParameter(&'static str),
    /// A parameter is not what the workload expects.
    BadParameter {
        /// Its name.
        name: &'static str,
        /// What was given.
        value: String,
    },
    /// The heap or the system refused something.
    Failed {
        /// What was tried.
        what: &'static str,
        /// The error's own words.
        error: String,
    },
}

impl RunError {
    /// For `map_err`: `what` failed with an error of its own.
    pub fn failed<E: fmt::Display>(what: &'static str) -> impl FnOnce(E) -> RunError {
        move |error| RunError::Failed { what, error: error.to_string() }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::NoWorkload(name) => write!(f, "there is no workload {name:?}"),
            RunError::NotAvailable => f.write_str("not available"),
            RunError::NoParameter(name) => write!(f, "parameter {name} is missing"),
            RunError::BadParameter { name, value } => {
                write!(f, "parameter {name}={value} is not usable")
            }
            RunError::Failed { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for RunError {}
