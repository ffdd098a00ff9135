//! What a run hands back: one line of JSON, the same for every runtime.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Result of the work itself, as a workload returns it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Digest of the answers; equal for every runtime.
    pub check: u64,
    /// Collections the heap finished.
    pub collections: u64,
    /// Longest stop of the mutators, in nanoseconds.
    pub stop_max_nanos: u64,
    /// 99th percentile of the stops, in nanoseconds.
    pub stop_p99_nanos: u64,
    /// Memory resident at the end, where the workload wants it measured at a moment of its own;
    /// otherwise it is measured when the workload returns.
    pub resident_end_bytes: Option<u64>,
    /// Further figures by name. Lower is better for all of them.
    pub metrics: BTreeMap<String, f64>,
}

impl Outcome {
    /// Adds one named figure.
    pub fn metric(&mut self, name: impl Into<String>, value: f64) {
        self.metrics.insert(name.into(), value);
    }
}

/// One run of one workload by one runtime. Every program prints it as one line of JSON.
///
/// `cpu_nanos`, `wall_nanos` and `peak_rss_bytes` are what the process knows of itself; the command
/// replaces them by what the system charged the whole process with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// Workload with its variant, as in `full-mark/graph`.
    pub workload: String,
    /// Runtime that did it: `mallocgc`, `go`, `libgc`, `mimalloc`, `malloc`.
    pub runtime: String,
    /// Check value: 16 hexadecimal digits.
    pub check: String,
    /// User and system time of all threads.
    #[serde(default)]
    pub cpu_nanos: u64,
    /// Time from start to end.
    #[serde(default)]
    pub wall_nanos: u64,
    /// Most memory ever resident.
    #[serde(default)]
    pub peak_rss_bytes: u64,
    /// Memory resident when the work was done.
    #[serde(default)]
    pub resident_end_bytes: Option<u64>,
    /// Collections; absent for runtimes without a collector.
    #[serde(default)]
    pub collections: Option<u64>,
    /// Longest stop of the mutators; absent for runtimes without a collector.
    #[serde(default)]
    pub stop_max_nanos: Option<u64>,
    /// 99th percentile of the stops; absent for runtimes without a collector.
    #[serde(default)]
    pub stop_p99_nanos: Option<u64>,
    /// Further figures by name. Lower is better for all of them.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
}

impl RunReport {
    /// A check value as reports write it.
    pub fn check_text(check: u64) -> String {
        format!("{check:016x}")
    }
}
