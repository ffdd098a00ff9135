//! What is printed.

use crate::checker::{End, Outcome, Way};
use crate::milestone::Milestones;
use crate::mutants::Mutant;
use crate::protocol::Protocol;
use crate::scope::{Fields, Present, Scope};
use crate::state::{MUTATORS, ObjectSet, State};
use crate::step::{Act, Step, mutator_name};
use std::fmt;
use std::io::Write;

/// A number of things.
struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count(count, word) = self;
        write!(f, "{count} {word}{}", if *count == 1 { "" } else { "s" })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [(self.mutators, "mutator"), (self.objects, "object"), (self.roots, "root")];
        for (count, word) in counts {
            write!(f, "{}, ", Count(count, word))?;
        }
        f.write_str(match self.fields {
            Fields::Atomic => "atomic slots",
            Fields::Claimed => "claimed objects",
        })?;
        let extras = [(self.weak, ", weak handle"), (self.finalizer, ", finalizer")];
        extras
            .iter()
            .filter(|(is, _)| *is == Present::One)
            .try_for_each(|(_, word)| f.write_str(word))
    }
}

/// Before a search, which may take a while.
pub(crate) fn begin(name: &str, says: &str, scope: &Scope) {
    println!("\n{name}: {says}\n  world     {scope}");
    // A pipe that is closed is no reason to end the search.
    let _ = std::io::stdout().flush();
}

/// How large a search was.
pub(crate) fn size(outcome: &Outcome<Protocol>) {
    let Outcome { states, steps, depth, time, .. } = outcome;
    println!(
        "  explored  {states} states, {steps} steps, depth {depth}, {:.1} s",
        time.as_secs_f64()
    );
}

/// How a search ended.
pub(crate) fn end(outcome: &Outcome<Protocol>) {
    match &outcome.end {
        End::Complete => println!("  result    holds in every state"),
        End::Violation(violation, way) => {
            println!("  result    violated: {violation}");
            print_way(way);
        }
        End::Stuck(way) => {
            println!("  result    stuck: nobody can do anything any more");
            print_way(way);
        }
        End::Found(way) => print_way(way),
        End::Full => println!("  result    given up: more states than --max-states"),
    }
}

/// What the search came by.
pub(crate) fn milestones(milestones: &Milestones, protocol: &Protocol) {
    for (milestone, times) in milestones.seen() {
        println!("  seen      {milestone} ({times} steps)");
    }
    for milestone in milestones.missing(protocol) {
        println!("  MISSING   {milestone}");
    }
}

/// Mutants, by name, and what they are about.
pub(crate) fn list(title: &str, mutants: &[Mutant]) {
    println!("{title}");
    for mutant in mutants {
        println!("  {:<18} {}", mutant.name, mutant.says);
    }
}

fn print_way(way: &Way<Protocol>) {
    let mut before = State::EMPTY;
    for (number, (step, after)) in way.steps.iter().enumerate() {
        print!("  {:>4}  {step}", number + 1);
        for index in 0..MUTATORS {
            let read = read_meanwhile(&before, step, after, index);
            if read != ObjectSet::default() {
                print!("; {} reads {read}", mutator_name(index));
            }
        }
        println!();
        before = *after;
    }
}

/// What a mutator got to hold, but for what the step itself gave it.
fn read_meanwhile(before: &State, step: &Step, after: &State, index: usize) -> ObjectSet {
    let given = match *step {
        Step::Mutator(
            who,
            Act::Read { object, .. }
            | Act::Allocate { object, .. }
            | Act::ReadWeak { object, .. }
            | Act::Upgrade { object, .. }
            | Act::TakeQueued { object },
        ) if who == index => Some(object),
        _ => None,
    };
    let had = before.mutators[index].locals.union(given.into_iter().collect());
    after.mutators[index].locals.without(had)
}
