//! Arguments, and what they ask for.

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use mallocgc_bench::{Case, Run, Runtime, Scale, Set};
use std::ffi::OsString;
use std::path::PathBuf;

/// Go's garbage-collected heap as a library: its command.
#[derive(Parser, Debug)]
#[command(name = "mallocgc", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Measure the heap against its peers
    Bench(Bench),
    /// Run a program that was linked against libgc on this heap
    Exec(Exec),
    /// One run on our heap, as peers' programs are called
    #[command(hide = true)]
    BenchRun(BenchRun),
}

#[derive(clap::Args, Debug)]
#[command(after_help = workloads_help())]
pub(crate) struct Bench {
    /// Workloads to run (full-mark for all variants, full-mark/graph for one); none means a
    /// representative set in under two minutes
    #[arg(value_name = "WORKLOAD", value_parser = parse_workload)]
    workloads: Vec<Selection>,

    /// Run a set of workloads
    #[arg(long, value_enum, conflicts_with = "workloads")]
    set: Option<SetArgument>,

    /// Threads, for the workloads that can use several
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,

    /// How much of the work to do
    #[arg(long, value_enum, default_value_t = ScaleArgument::Quick)]
    scale: ScaleArgument,

    /// Which runtimes to compare with: auto (all there are), none, or a list
    #[arg(
        long,
        value_name = "auto|none|go,libgc,drop-in,mimalloc,malloc,gc-arena,gc-arena-mimalloc,rc",
        value_delimiter = ',',
        value_enum,
        default_value = "auto",
        hide_possible_values = true
    )]
    peers: Vec<PeerArgument>,

    /// How often to run everything; figures are medians over the rounds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,

    /// Directory whose text files the index workload reads
    #[arg(long, value_name = "DIR", value_parser = parse_directory)]
    input: Option<PathBuf>,

    /// Print one JSON object per row instead of tables
    #[arg(long)]
    json: bool,
}

/// What one WORKLOAD argument stands for.
#[derive(Clone, Debug)]
struct Selection(Vec<&'static Case>);

fn parse_workload(name: &str) -> Result<Selection, String> {
    let cases = mallocgc_bench::select(name);
    if cases.is_empty() {
        let mut names: Vec<_> = mallocgc_bench::catalogue().map(Case::workload).collect();
        names.dedup();
        return Err(format!("no such workload; there are {}", names.join(", ")));
    }
    Ok(Selection(cases))
}

fn parse_directory(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if path.is_dir() { Ok(path) } else { Err("not a directory".to_owned()) }
}

fn workloads_help() -> String {
    let mut text = String::from("Workloads (* in the set representative, + in the set typed):\n");
    for case in mallocgc_bench::catalogue() {
        let star = match case.set {
            Some(Set::Representative) => '*',
            Some(Set::Typed) => '+',
            None => ' ',
        };
        text.push_str(&format!("  {star} {:<28} {}\n", case.name, case.about));
    }
    text
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ScaleArgument {
    /// Milliseconds, for tests: only the check values mean anything
    #[value(hide = true)]
    Smoke,
    /// 0.3 to 2 seconds a run in Go
    Quick,
    /// Seconds to minutes a run, and up to some GiB
    Full,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum SetArgument {
    /// Of all workloads on the raw interface something, in under two minutes
    Representative,
    /// The workloads on the safe interface
    Typed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum PeerArgument {
    Auto,
    None,
    Go,
    Libgc,
    DropIn,
    Mimalloc,
    Malloc,
    GcArena,
    GcArenaMimalloc,
    Rc,
}

/// What to run and how to show it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) cases: Vec<&'static Case>,
    pub(crate) threads: Option<u32>,
    pub(crate) scale: Scale,
    pub(crate) peers: Vec<Runtime>,
    pub(crate) rounds: Rounds,
    pub(crate) input: Option<PathBuf>,
    pub(crate) output: Output,
}

/// How long to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rounds {
    /// This many.
    Exactly(u32),
    /// At most this many, and no new one that would end later than the set may take.
    WithinBudget(u32),
}

/// How to show the results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    /// Tables for people.
    Tables,
    /// One JSON object per row.
    Json,
}

/// Rounds when nobody says how many: enough for a median.
const DEFAULT_ROUNDS: u32 = 3;

impl Bench {
    /// Checks the arguments against each other.
    pub(crate) fn plan(self) -> Result<Plan, clap::Error> {
        let mut cases: Vec<&'static Case> = Vec::new();
        for case in self.workloads.iter().flat_map(|selection| &selection.0) {
            if !cases.iter().any(|other| other.name == case.name) {
                cases.push(case);
            }
        }
        let rounds = match (self.rounds, self.set, cases.is_empty()) {
            (Some(rounds), ..) => Rounds::Exactly(rounds),
            (None, None, true) => Rounds::WithinBudget(DEFAULT_ROUNDS),
            (None, ..) => Rounds::Exactly(DEFAULT_ROUNDS),
        };
        if cases.is_empty() {
            let set = match self.set {
                None | Some(SetArgument::Representative) => Set::Representative,
                Some(SetArgument::Typed) => Set::Typed,
            };
            cases = mallocgc_bench::catalogue().filter(|case| case.set == Some(set)).collect();
        }
        if self.input.is_some() && !cases.iter().any(|case| case.reads_input) {
            return Err(conflict("--input is read by the workload index only"));
        }
        let peers = match self.peers.as_slice() {
            [PeerArgument::None] => Vec::new(),
            [PeerArgument::Auto] => Runtime::PEERS.to_vec(),
            list => {
                let mut peers = Vec::new();
                for peer in list {
                    let runtime = match peer {
                        PeerArgument::Go => Runtime::Go,
                        PeerArgument::Libgc => Runtime::Libgc,
                        PeerArgument::DropIn => Runtime::DropIn,
                        PeerArgument::Mimalloc => Runtime::Mimalloc,
                        PeerArgument::Malloc => Runtime::Malloc,
                        PeerArgument::GcArena => Runtime::GcArena,
                        PeerArgument::GcArenaMimalloc => Runtime::GcArenaMimalloc,
                        PeerArgument::Rc => Runtime::Rc,
                        PeerArgument::Auto | PeerArgument::None => {
                            return Err(conflict("--peers takes auto or none only by itself"));
                        }
                    };
                    if !peers.contains(&runtime) {
                        peers.push(runtime);
                    }
                }
                peers
            }
        };
        Ok(Plan {
            cases,
            threads: self.threads,
            scale: match self.scale {
                ScaleArgument::Smoke => Scale::Smoke,
                ScaleArgument::Quick => Scale::Quick,
                ScaleArgument::Full => Scale::Full,
            },
            peers,
            rounds,
            input: self.input,
            output: if self.json { Output::Json } else { Output::Tables },
        })
    }
}

fn conflict(message: &str) -> clap::Error {
    let mut command = Arguments::command();
    // Gives the subcommands their full names, for the line of usage.
    command.build();
    let bench = command.find_subcommand_mut("bench").expect("it is declared above");
    bench.error(ErrorKind::ArgumentConflict, message)
}

/// How to run a program.
#[derive(clap::Args, Debug)]
pub(crate) struct Exec {
    /// Print a line for each collection
    #[arg(long)]
    pub(crate) trace: bool,

    /// Write a heap profile for `go tool pprof` when the program ends
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,

    /// Write what the heap did to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) stats: Option<PathBuf>,

    /// Bytes that the heap does not exceed; with K, M or G for powers of 1024
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) limit: Option<u64>,

    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    pub(crate) program: Vec<OsString>,
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = number.parse().map_err(|_| "expected bytes, such as 64M")?;
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes != 0 => Ok(bytes),
        _ => Err("a limit is at least a byte, and fits 64 bits".to_owned()),
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct BenchRun {
    workload: String,
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// name=value
    #[arg(value_parser = parse_parameter)]
    parameters: Vec<(String, String)>,
}

fn parse_parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl BenchRun {
    pub(crate) fn into_run(self) -> Run {
        Run {
            workload: self.workload,
            threads: self.threads,
            parameters: self.parameters.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::CommandFactory;

    #[test]
    fn declaration_is_sound() {
        Arguments::command().debug_assert();
    }
}
