//! The transition rules: what may happen in a state.
//!
//! ```text
//!         asks       nobody inside     stack empty    a round brought      all decided     everybody
//!        a flip       (the flip)      and roots read       nothing                         answered
//! Idle ────────▶ Flipping ──────▶ Marking ◀───────▶ Ending ──────▶ Deciding ──────▶ Closing ──────▶ Idle
//!                                         more came                                          sweep
//! barrier on                      ├───────────────────────────────────────┤
//! allocate black                  ├─────────────────────────────────────────────────────┤
//! weak: shade                     ├───────────────┤
//! weak: take marked, or wait                       ├──────────────────────┤
//! ```
//!
//! Three parties move: mutators (`mutator`), threads outside (`outside`) and the collector
//! (`collector`). Memory is sequentially consistent: what the orderings of the atomics
//! must achieve is checked where they are used, by loom. A step is what an
//! implementation does without being seen half-way, by one atomic access or under a lock.
//!
//! Cycles are not counted. A state after a sweep is an ordinary idle state, so the search follows
//! any number of cycles, and whatever one leaves behind meets the next.
//!
//! Not here: what must hold (`property`).

mod collector;
mod mutator;
mod outside;

use crate::checker::Model;
use crate::property::{self, Violation};
use crate::scope::{Reads, Scope};
use crate::state::{Colour, Finalizer, Holder, Object, Pending, Phase, ROOTS, Root, Slot, State};
use crate::step::{Found, Step};
use crate::symmetry;
use crate::variant::{Allocation, BarrierOn, Buffer, End, Flip, Variant};

/// A protocol in a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) variant: Variant,
    pub(crate) scope: Scope,
}

/// Steps found, each with the state it leads to.
type Steps = Vec<(Step, State)>;

impl Model for Protocol {
    type State = State;
    type Step = Step;
    type Violation = Violation;

    fn initial(&self) -> State {
        State::EMPTY
    }

    fn steps(&self, state: &State, found: &mut Steps) {
        for index in 0..self.scope.mutators {
            self.mutator_steps(state, index, found);
        }
        self.outside_steps(state, found);
        self.collector_steps(state, found);
        for (_, after) in found {
            if self.scope.reads == Reads::Greedy {
                self.read_greedily(after);
            }
            forget(after);
        }
    }

    fn wrong_step(&self, before: &State, step: &Step) -> Option<Violation> {
        property::wrong_step(before, step)
    }

    fn wrong_state(&self, state: &State) -> Option<Violation> {
        property::wrong_state(state)
    }

    fn encode(&self, state: &State) -> u64 {
        symmetry::canonical(state, &self.scope)
    }

    fn decode(&self, word: u64) -> State {
        State::decode(word)
    }
}

/// What all parties ask and do.
impl Protocol {
    /// Whether a mutator, or a thread outside, finds the barrier on.
    fn barrier_is_on(&self, state: &State, mutator: Option<usize>) -> bool {
        match state.phase {
            Phase::Idle | Phase::Closing => false,
            Phase::Flipping => self.has_heard_of_flip(state, mutator),
            Phase::Marking => match self.variant.barrier_on {
                BarrierOn::AtFlip => true,
                BarrierOn::AfterRoots => self.all_roots_read(state),
            },
            Phase::Ending | Phase::Deciding => true,
        }
    }

    /// Where mutators learn of the cycle one by one: whether this one has.
    fn has_heard_of_flip(&self, state: &State, mutator: Option<usize>) -> bool {
        self.variant.flip == Flip::Ragged
            && mutator.is_some_and(|index| state.mutators[index].acknowledged)
    }

    fn all_roots_read(&self, state: &State) -> bool {
        state.queue_read && state.roots_read[..self.scope.roots].iter().all(|&read| read)
    }

    /// Whether who wants to enter must wait.
    fn gate_is_closed(&self, state: &State) -> bool {
        match state.phase {
            Phase::Ending | Phase::Deciding | Phase::Closing => self.variant.end == End::Stop,
            Phase::Idle | Phase::Flipping | Phase::Marking => false,
        }
    }

    /// The colour of a mutator's new objects.
    fn allocation_colour(&self, state: &State, mutator: usize) -> Colour {
        let black = match self.variant.allocation {
            Allocation::White => false,
            Allocation::BlackWithBarrier => self.barrier_is_on(state, Some(mutator)),
            Allocation::BlackUntilSweep => match state.phase {
                Phase::Idle => false,
                Phase::Flipping => self.has_heard_of_flip(state, Some(mutator)),
                Phase::Marking | Phase::Ending | Phase::Deciding | Phase::Closing => true,
            },
        };
        if black { Colour::Black } else { Colour::White }
    }

    /// Marks an object that is not, and notes that it is to be scanned.
    fn shade(&self, state: &mut State, object: Object, by: Holder) -> Found {
        match state.colour(object) {
            Colour::Free => Found::Free,
            Colour::White => {
                let holder =
                    if self.variant.buffer == Buffer::None { Holder::Collector } else { by };
                state.set_colour(object, Colour::Grey(holder));
                match holder {
                    Holder::Collector => state.delivered |= state.phase == Phase::Ending,
                    Holder::Mutator(index) => {
                        state.mutators[usize::from(index)].has_worked = true;
                    }
                }
                Found::White
            }
            Colour::Grey(_) | Colour::Claimed(_) | Colour::Black => Found::Marked,
        }
    }

    /// Whether a store into a root is under way, so that its owner cannot drop it.
    fn is_being_stored_into(&self, state: &State, slot: Slot) -> bool {
        state.mutators.iter().any(|mutator| match mutator.pending {
            Pending::Shade { slot: place, .. }
            | Pending::Write { slot: place, .. }
            | Pending::ShadeSlot { slot: place } => place == slot,
            Pending::Trace { object } => Slot::Field(object) == slot,
            Pending::Nothing | Pending::ShadeOld { .. } | Pending::Upgrade { .. } => false,
        })
    }

    /// The object whose finalizer is due and not handed out.
    fn queued(&self, state: &State) -> Option<Object> {
        match state.finalizer {
            Finalizer::Queued(object) => Some(object),
            Finalizer::None | Finalizer::Armed(_) | Finalizer::InHand(_) => None,
        }
    }

    /// Everybody inside reads everything they can get at.
    fn read_greedily(&self, state: &mut State) {
        let rooted = state.rooted();
        for index in 0..self.scope.mutators {
            if state.mutators[index].inside {
                let from = state.mutators[index].locals.union(rooted);
                state.mutators[index].locals = state.reachable_from(from);
            }
        }
    }
}

/// Drops what can make no difference any more, so that states which differ in
/// nothing else become one.
fn forget(state: &mut State) {
    for index in 0..ROOTS {
        // A dead slot that has been read, or will be free when it is read next. New handles
        // take other slots, so its place can be had.
        let counts = match state.phase {
            Phase::Flipping => true,
            Phase::Marking => !state.roots_read[index],
            Phase::Idle | Phase::Ending | Phase::Deciding | Phase::Closing => false,
        };
        if matches!(state.roots[index], Root::Dead(_)) && !counts {
            state.roots[index] = Root::Empty;
        }
    }
    // Nothing comes into the queue before it is read.
    if state.phase == Phase::Marking && !matches!(state.finalizer, Finalizer::Queued(_)) {
        state.queue_read = true;
    }
    // What nobody can get at any more, and the collector will not scan.
    let matters = state.reachable_from(property::named(state));
    for object in Object::all().filter(|&object| !matters.contains(object)) {
        state.store(Slot::Field(object), None);
    }
}
