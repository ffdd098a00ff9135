//! What the library wrote when the program ended, read and printed.
//!
//! The file's format is that of `docs/exec.md`: one block a process, one name and value a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What one process's heap did.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub(super) struct Statistics {
    /// The process.
    pub(super) process: u32,
    /// Numbers by name, as the library wrote them.
    pub(super) values: BTreeMap<String, u64>,
    /// Where most was allocated: bytes, objects, name.
    pub(super) sites: Vec<(u64, u64, String)>,
}

impl Statistics {
    /// All blocks of a file. Lines that nobody knows are passed over.
    pub(super) fn parse(text: &str) -> Vec<Statistics> {
        let mut blocks: Vec<Statistics> = Vec::new();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once(' ') else { continue };
            if name == "process" {
                let Ok(process) = rest.parse() else { continue };
                blocks.push(Statistics { process, ..Statistics::default() });
                continue;
            }
            let Some(block) = blocks.last_mut() else { continue };
            if name == "site" {
                let mut parts = rest.splitn(3, ' ');
                let mut number = || parts.next().and_then(|part| part.parse().ok());
                if let (Some(bytes), Some(objects)) = (number(), number()) {
                    let name = parts.next().unwrap_or("?").to_owned();
                    block.sites.push((bytes, objects, name));
                }
            } else if let Ok(value) = rest.parse() {
                block.values.insert(name.to_owned(), value);
            }
        }
        blocks
    }

    fn value(&self, name: &str) -> u64 {
        self.values.get(name).copied().unwrap_or(0)
    }

    /// Lines for people.
    pub(super) fn report(&self) -> String {
        let mut text = String::new();
        let cpu = self.value("cpu_nanos");
        let share = match cpu {
            0 => 0.0,
            _ => 100.0 * self.value("gc_cpu_nanos") as f64 / cpu as f64,
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "mallocgc: {} cycles, {} stops of {} in all and {} at most",
            self.value("cycles"),
            self.value("stops"),
            milliseconds(self.value("stopped_total_nanos")),
            milliseconds(self.value("stopped_max_nanos")),
        );
        let _ = writeln!(
            text,
            "mallocgc: heap {} at its peak, {} live, {} allocated; collector {share:.1}% of {} CPU",
            megabytes(self.value("peak_bytes")),
            megabytes(self.value("live_bytes")),
            megabytes(self.value("allocated_bytes")),
            milliseconds(cpu),
        );
        for (bytes, objects, name) in &self.sites {
            let _ = writeln!(text, "mallocgc: {} in {objects} objects: {name}", megabytes(*bytes));
        }
        text
    }
}

fn milliseconds(nanos: u64) -> String {
    format!("{:.2} ms", nanos as f64 / 1e6)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::Statistics;

    #[test]
    fn blocks_are_read_and_unknown_lines_passed_over() {
        let text = "noise 3\nprocess 7\ncycles 12\nsite 4096 2 make node\nsite x\nfuture 1 2\n\n\
                    process 8\ncycles 1\ncpu_nanos 1000\ngc_cpu_nanos 250\n";
        let blocks = Statistics::parse(text);
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[0].process, blocks[0].value("cycles")), (7, 12));
        assert_eq!(blocks[0].sites, [(4096, 2, "make node".to_owned())]);
        assert_eq!(blocks[1].value("cycles"), 1);
        assert!(blocks[1].report().contains("collector 25.0%"), "{}", blocks[1].report());
        assert_eq!(Statistics::parse(""), []);
    }
}
