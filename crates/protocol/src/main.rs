//! Model checker of concurrent marking: `cargo run --release -p mallocgc-protocol`.
//!
//! Explores every state that a few mutators, threads outside and the collector can bring a
//! tiny heap into, and looks whether an object in use is ever freed. What is argued and
//! what is left out is told in `docs/design/protocol.md`.
//!
//! | module | is |
//! |---|---|
//! | `state` | one moment: cells, roots, mutators, the collector |
//! | `step` | what can happen next, in words |
//! | `scope` | how large a world is explored |
//! | `variant` | the protocol's rules as data |
//! | `property` | what must hold |
//! | `symmetry` | which states are the same but for names |
//! | `checker` | breadth-first search of any model |
//! | `protocol` | the rules as steps |
//! | `milestone` | what must happen somewhere |
//! | `mutants` | protocols with one mistake, or one exchange, each |
//! | `report` | what is printed |
//!
//! Exit codes: 0 what ships holds, what is as good holds, every mutant is caught; 1 otherwise;
//! 2 bad arguments.

#![forbid(unsafe_code)]

mod state;
mod step;
mod scope;
mod variant;
mod property;
mod symmetry;
mod checker;
mod protocol;
mod milestone;
mod mutants;
mod report;
#[cfg(test)]
mod tests;

use checker::{End, Search};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use milestone::{Milestones, frees_garbage};
use mutants::{ALTERNATIVES, MUTANTS, Mutant};
use protocol::Protocol;
use scope::{CHECKED, EVERYTHING, Scope};
use state::State;
use std::process::ExitCode;
use variant::{SHIPPED, Variant};

/// Checks the protocol by which mallocgc marks beside running mutators.
///
/// Without options, explores what ships in five small worlds.
#[derive(Parser)]
struct Arguments {
    /// Explores what ships in this world only; `everything` takes minutes and gigabytes.
    #[arg(long, value_parser = PossibleValuesParser::new(scope_names()), conflicts_with_all = ["mutants", "alternatives"])]
    scope: Option<String>,
    /// Explores protocols with one mistake each, which must be caught.
    #[arg(long)]
    mutants: bool,
    /// Explores protocols with one rule exchanged for one that is as good.
    #[arg(long)]
    alternatives: bool,
    /// Names mutants and alternatives, and ends.
    #[arg(long)]
    list: bool,
    /// States after which a search gives up. A state takes about 25 bytes.
    #[arg(long, default_value_t = 115_000_000)]
    max_states: usize,
}

fn scope_names() -> impl Iterator<Item = &'static str> {
    CHECKED.iter().chain([&EVERYTHING]).map(|scope| scope.name)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        report::list("mutants", &MUTANTS);
        report::list("alternatives", &ALTERNATIVES);
        return ExitCode::SUCCESS;
    }
    let max_states = arguments.max_states;
    let mut good = true;
    if arguments.mutants {
        let caught = MUTANTS.iter().filter(|mutant| is_caught(mutant, max_states)).count();
        println!("\n{caught} of {} mutants caught", MUTANTS.len());
        good &= caught == MUTANTS.len();
    }
    if arguments.alternatives {
        for Mutant { name, says, variant, scope } in &ALTERNATIVES {
            good &= holds(name, says, *variant, scope, max_states);
        }
    }
    if !arguments.mutants && !arguments.alternatives {
        let wanted = |scope: &&Scope| match &arguments.scope {
            None => scope.name != EVERYTHING.name,
            Some(name) => scope.name == name,
        };
        for scope in CHECKED.iter().chain([&EVERYTHING]).filter(wanted) {
            good &= holds(scope.name, "the shipped protocol", SHIPPED, scope, max_states);
        }
    }
    println!("\n{}", if good { "all as it should be" } else { "NOT as it should be" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Explores a protocol that should hold; whether it does, and anything happens in it.
fn holds(name: &str, says: &str, variant: Variant, scope: &Scope, max_states: usize) -> bool {
    report::begin(name, says, scope);
    let protocol = Protocol { variant, scope: *scope };
    let mut milestones = Milestones::default();
    let outcome = Search::new(&protocol, max_states).explore(|step| milestones.see(step));
    report::size(&outcome);
    report::milestones(&milestones, &protocol);
    let repeats = has_second_cycle(&protocol, max_states);
    println!("  {}a second cycle frees garbage", if repeats { "seen      " } else { "MISSING   " });
    report::end(&outcome);
    let complete = matches!(outcome.end, End::Complete);
    complete && milestones.missing(&protocol).is_empty() && repeats
}

/// Whether a cycle that frees something can follow on another.
fn has_second_cycle(protocol: &Protocol, max_states: usize) -> bool {
    let search = Search::new(protocol, max_states);
    let next = |from: State| match search.find(from, frees_garbage).end {
        End::Found(way) => way.steps.last().map(|&(_, after)| after),
        _ => None,
    };
    next(State::EMPTY).and_then(next).is_some()
}

/// Explores a protocol with a mistake, in larger and larger worlds; whether one shows it.
fn is_caught(mutant: &Mutant, max_states: usize) -> bool {
    for scope in mutant.scope.sizes() {
        let protocol = Protocol { variant: mutant.variant, scope };
        let outcome = Search::new(&protocol, max_states).explore(|_| {});
        if let End::Complete = outcome.end
            && scope != mutant.scope
        {
            continue;
        }
        report::begin(mutant.name, mutant.says, &scope);
        report::size(&outcome);
        report::end(&outcome);
        return matches!(outcome.end, End::Violation(..));
    }
    false
}
