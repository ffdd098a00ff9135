//! The `mallocgc` command.
//!
//! `mallocgc bench` measures the heap against its peers: it starts every run as a process of its own
//! (`child`), finds or builds the peers' programs (`peers`), lists the files that a workload reads
//! (`input`), takes turns (`suite`), condenses the rounds (`row`) and prints a table or JSON
//! (`table`). Runs on our own heap are this very command under the hidden subcommand `bench-run`,
//! which takes what every peer program takes and prints the same line.
//!
//! `mallocgc exec` runs a program that was linked against libgc on our heap (`exec`), and ends as it ended.
//!
//! Exit codes of `bench`: 0 all runs succeeded and agreed; 1 a run failed or check values differ; 2 bad arguments; 128
//! and the number of the signal that ended it: 130 for SIGINT, 143 for SIGTERM.

mod args;
mod child;
mod exec;
mod input;
mod peers;
mod row;
mod suite;
mod table;

use clap::Parser;
use mallocgc_bench::{Run, RunError};
use std::process::ExitCode;

fn main() -> ExitCode {
    match args::Arguments::parse().command {
        args::Command::Bench(bench) => {
            let plan = match bench.plan() {
                Ok(plan) => plan,
                Err(error) => error.exit(),
            };
            suite::run(&plan)
        }
        args::Command::Exec(exec) => exec::run(&exec),
        args::Command::BenchRun(one) => run_one(one.into_run()),
    }
}

/// Exit code by which `bench-run` says that our heap does not have the workload.
const NOT_AVAILABLE: u8 = 3;

fn run_one(run: Run) -> ExitCode {
    match run.perform() {
        Ok(report) => {
            println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
            ExitCode::SUCCESS
        }
        Err(RunError::NotAvailable) => ExitCode::from(NOT_AVAILABLE),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
