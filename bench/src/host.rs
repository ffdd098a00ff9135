//! What a run can see of its own process: time spent and memory resident.
//!
//! The command measures whole processes from outside; these serve the workloads that time only a
//! phase, and the figures a run gives about itself. The Rust peer includes this very file, so it
//! stands alone.

use rustix::time::{ClockId, clock_gettime};
use std::time::Instant;

/// CPU time of all threads of this process, in nanoseconds.
pub(crate) fn process_cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Bytes of this process that are in memory now (0 where the system does not tell).
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// The most bytes of this process that ever were in memory (0 where the system does not tell).
pub(crate) fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Measures a phase: CPU time of the whole process (the collector's threads included) and wall time.
#[derive(Debug)]
pub struct Stopwatch {
    cpu_nanos: u64,
    wall: Instant,
}

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Stopwatch {
        Stopwatch { cpu_nanos: process_cpu_nanos(), wall: Instant::now() }
    }

    /// CPU nanoseconds since the start.
    pub fn cpu_nanos(&self) -> u64 {
        process_cpu_nanos() - self.cpu_nanos
    }

    /// Wall nanoseconds since the start.
    pub fn wall_nanos(&self) -> u64 {
        self.wall.elapsed().as_nanos() as u64
    }
}
