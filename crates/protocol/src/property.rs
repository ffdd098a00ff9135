//! What must hold: nothing that is in use is ever freed, decided dead, or read
//! and written at once.
//!
//! In use is what the program can still get at: from roots, from locals, from stores and
//! reads that are under way, and from objects whose finalizers are due.

use crate::state::{Colour, Finalizer, Holder, Object, ObjectSet, Pending, Slot, State};
use crate::step::{Act, Decided, Step, Work, mutator_name};
use std::fmt;

/// Why a protocol is unsound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Violation {
    /// The object can still be reached.
    Freed(Object),
    /// The weak handle of an object was cleared that can be reached.
    Cleared(Object),
    /// The finalizer of an object is due that can be reached.
    Queued(Object),
    /// A mutator is about to write what the collector is reading.
    Race { mutator: usize, object: Object },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Violation::Freed(object) => write!(f, "{object} is in use and was freed"),
            Violation::Cleared(object) => {
                write!(f, "{object} is in use and its weak handle was cleared")
            }
            Violation::Queued(object) => {
                write!(f, "{object} is in use and its finalizer is due")
            }
            Violation::Race { mutator, object } => {
                let mutator = mutator_name(mutator);
                write!(f, "{mutator} writes {object} while the collector reads it")
            }
        }
    }
}

/// What is wrong with a step.
pub(crate) fn wrong_step(before: &State, step: &Step) -> Option<Violation> {
    match *step {
        Step::Collector(Work::Decide(Decided { cleared: Some(object), .. }))
            if in_use(before).contains(object) =>
        {
            Some(Violation::Cleared(object))
        }
        Step::Mutator(mutator, Act::Store { slot, .. } | Act::Write { slot, .. }) => {
            let Slot::Field(object) = slot else { return None };
            let read = before.colour(object) == Colour::Claimed(Holder::Collector);
            read.then_some(Violation::Race { mutator, object })
        }
        _ => None,
    }
}

/// What is wrong with a state.
pub(crate) fn wrong_state(state: &State) -> Option<Violation> {
    let in_use = in_use(state);
    if let Some(object) = in_use.iter().find(|&object| state.colour(object) == Colour::Free) {
        return Some(Violation::Freed(object));
    }
    // Who has it got it from the queue, and then it is not there any more.
    if let Finalizer::Queued(object) = state.finalizer
        && state.reachable_from(held(state)).contains(object)
    {
        return Some(Violation::Queued(object));
    }
    None
}

/// Every object that somebody can still get at.
fn in_use(state: &State) -> ObjectSet {
    let mut from = held(state);
    match state.finalizer {
        Finalizer::Queued(object) | Finalizer::InHand(object) => from.insert(object),
        Finalizer::None | Finalizer::Armed(_) => {}
    }
    state.reachable_from(from)
}

/// Every object that somebody has a name for, used or not.
pub(crate) fn named(state: &State) -> ObjectSet {
    let mut set = held(state);
    set = set.union(state.weak.into_iter().collect());
    match state.finalizer {
        Finalizer::None => {}
        Finalizer::Armed(object) | Finalizer::Queued(object) | Finalizer::InHand(object) => {
            set.insert(object);
        }
    }
    set.union(state.roots.iter().filter_map(|root| root.traced()).collect())
        .union(Object::all().filter(|&object| is_grey(state.colour(object))).collect())
}

fn is_grey(colour: Colour) -> bool {
    matches!(colour, Colour::Grey(_) | Colour::Claimed(_))
}

/// What roots, locals and unfinished stores hold.
fn held(state: &State) -> ObjectSet {
    let mut set = state.rooted();
    for mutator in &state.mutators {
        set = set.union(mutator.locals);
        match mutator.pending {
            Pending::Nothing | Pending::Write { .. } | Pending::ShadeSlot { .. } => {}
            Pending::Shade { old: object, .. }
            | Pending::ShadeOld { old: object }
            | Pending::Upgrade { object }
            | Pending::Trace { object } => set.insert(object),
        }
    }
    set
}
