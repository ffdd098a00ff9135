//! What the workloads share: request, result, report.

use crate::host::{Stopwatch, peak_resident_bytes, resident_bytes};
use std::collections::BTreeMap;
use std::fmt::Write;

/// One request.
pub struct Run {
    pub workload: String,
    pub threads: usize,
    parameters: BTreeMap<String, String>,
}

/// Ends the program with a message.
pub fn fail(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(1)
}

impl Run {
    pub fn from_arguments(arguments: Vec<String>) -> Run {
        let mut run = Run { workload: String::new(), threads: 1, parameters: BTreeMap::new() };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument == "--threads" {
                let threads = arguments.next().and_then(|text| text.parse().ok());
                run.threads = threads.unwrap_or_else(|| fail("--threads is not usable"));
            } else if let Some((name, value)) = argument.split_once('=') {
                run.parameters.insert(name.to_owned(), value.to_owned());
            } else if run.workload.is_empty() {
                run.workload = argument;
            } else {
                fail(&format!("unexpected argument {argument}"));
            }
        }
        run
    }

    pub fn text(&self, name: &str) -> &str {
        match self.parameters.get(name) {
            Some(value) => value,
            None => fail(&format!("parameter {name} is missing")),
        }
    }

    pub fn number(&self, name: &str) -> u64 {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| fail(&format!("parameter {name}={text} is not usable")))
    }

    /// What stands behind the slash of the workload's name.
    pub fn variant(&self) -> &str {
        self.workload.split_once('/').map_or("", |(_, variant)| variant)
    }
}

/// What a workload hands back.
#[derive(Default)]
pub struct Outcome {
    pub check: u64,
    /// Measured when the workload returns, if it does not do so itself.
    pub resident_end_bytes: Option<u64>,
    pub metrics: Vec<(String, f64)>,
}

impl Outcome {
    pub fn metric(&mut self, name: impl Into<String>, value: f64) {
        self.metrics.push((name.into(), value));
    }
}

pub fn print_report(runtime: &str, run: &Run, outcome: &Outcome, watch: &Stopwatch) {
    let mut line = format!(
        "{{\"workload\":\"{}\",\"runtime\":\"{runtime}\",\"check\":\"{:016x}\",\"cpu_nanos\":{},\"wall_nanos\":{},\
         \"peak_rss_bytes\":{},\"resident_end_bytes\":{},\"metrics\":{{",
        run.workload,
        outcome.check,
        watch.cpu_nanos(),
        watch.wall_nanos(),
        peak_resident_bytes(),
        outcome.resident_end_bytes.unwrap_or_else(resident_bytes),
    );
    for (i, (name, value)) in outcome.metrics.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        write!(line, "{comma}\"{name}\":{value:.6}").expect("a String takes everything");
    }
    println!("{line}}}}}");
}
