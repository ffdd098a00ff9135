//! What the collector may do.
//!
//! It is one thread here, but any grey object may be next, so that it stands for
//! several workers with one stack. What is on the stack are the objects that are
//! grey and the collector's.

use super::{Protocol, Steps};
use crate::scope::Fields;
use crate::state::{
    Cell, Colour, Finalizer, Holder, MUTATORS, Object, ObjectSet, Phase, ROOTS, State,
};
use crate::step::{Decided, Step, Work};
use crate::variant::{BarrierOff, Decision, End, Flip, Queue, Revive, RootsRead, Round, Sweep};

impl Protocol {
    /// The steps of the collector.
    pub(super) fn collector_steps(&self, state: &State, found: &mut Steps) {
        let mut add = |work, after| found.push((Step::Collector(work), after));
        match state.phase {
            Phase::Idle => match self.variant.flip {
                Flip::Rendezvous if state.mutators.iter().any(|mutator| mutator.inside) => {}
                Flip::Rendezvous => add(Work::Flip, self.flip(state)),
                Flip::Ragged => add(Work::AskFlip, in_phase(*state, Phase::Flipping)),
            },
            Phase::Flipping => {
                if self.all_acknowledged(state) {
                    add(Work::Flip, self.flip(state));
                }
            }
            Phase::Marking => {
                self.read_roots(state, &mut add);
                self.scan(state, &mut add);
                if self.stack_is_empty(state) && self.all_roots_read(state) {
                    self.begin_end(state, &mut add);
                }
            }
            Phase::Ending if self.all_acknowledged(state) => {
                let clean = match (self.variant.end, self.variant.round) {
                    (End::OneRound, _) | (_, Round::Unscanned) => self.stack_is_empty(state),
                    (_, Round::Delivered) => !state.delivered,
                };
                if clean {
                    add(Work::MarkingComplete, self.begin_deciding(state));
                } else if self.variant.end == End::OneRound {
                    self.scan(state, &mut add);
                } else {
                    add(Work::MarkMore, in_phase(*state, Phase::Marking));
                }
            }
            Phase::Ending => {}
            Phase::Deciding => {
                self.scan(state, &mut add);
                if self.stack_is_empty(state) {
                    let mut after = in_phase(*state, Phase::Closing);
                    let decided = decide(&mut after);
                    add(Work::Decide(decided), after);
                }
            }
            Phase::Closing => {
                if self.all_acknowledged(state) || self.variant.barrier_off == BarrierOff::AtOnce {
                    let (freed, after) = self.sweep(state);
                    add(Work::Sweep { freed }, after);
                }
            }
        }
    }

    fn all_acknowledged(&self, state: &State) -> bool {
        state.mutators[..self.scope.mutators].iter().all(|mutator| mutator.acknowledged)
    }

    fn stack_is_empty(&self, state: &State) -> bool {
        !state.cells.iter().any(|cell| {
            matches!(
                cell.colour,
                Colour::Grey(Holder::Collector) | Colour::Claimed(Holder::Collector)
            )
        })
    }

    /// The beginning of a cycle: the barrier goes on, slots of dropped roots are free again.
    fn flip(&self, state: &State) -> State {
        let mut after = in_phase(*state, Phase::Marking);
        if self.variant.flip == Flip::Rendezvous {
            // Buffers begin empty. That nothing was in them is what `Closing` is for.
            for mutator in &mut after.mutators {
                mutator.has_worked = false;
            }
            for cell in &mut after.cells {
                if matches!(cell.colour, Colour::Grey(_)) {
                    cell.colour = Colour::Black;
                }
            }
        }
        if self.variant.roots_read == RootsRead::InFlip {
            for root in self.scope.root_slots() {
                self.read_root(&mut after, root);
            }
            self.read_queue(&mut after);
        }
        after
    }

    fn read_root(&self, state: &mut State, root: u8) -> Option<Object> {
        let index = usize::from(root);
        let object = state.roots[index].traced();
        if let Some(object) = object {
            self.shade(state, object, Holder::Collector);
        }
        state.roots_read[index] = true;
        object
    }

    fn read_queue(&self, state: &mut State) -> Option<Object> {
        let object = match self.variant.queue {
            Queue::IsRoot => self.queued(state),
            Queue::IsNoRoot => None,
        };
        if let Some(object) = object {
            self.shade(state, object, Holder::Collector);
        }
        state.queue_read = true;
        object
    }

    fn read_roots(&self, state: &State, add: &mut impl FnMut(Work, State)) {
        for root in self.scope.root_slots() {
            if !state.roots_read[usize::from(root)] {
                let mut after = *state;
                let object = self.read_root(&mut after, root);
                add(Work::ReadRoot { root, object }, after);
            }
        }
        if !state.queue_read {
            let mut after = *state;
            let object = self.read_queue(&mut after);
            add(Work::ReadQueue { object }, after);
        }
    }

    /// Scans some object of the stack. An atomic slot is read in one step. Plain memory is
    /// read in the time between two, which the claim keeps writers out of.
    fn scan(&self, state: &State, add: &mut impl FnMut(Work, State)) {
        for object in Object::all() {
            let mut after = *state;
            match (state.colour(object), self.scope.fields) {
                (Colour::Grey(Holder::Collector), Fields::Claimed) => {
                    after.set_colour(object, Colour::Claimed(Holder::Collector));
                    add(Work::BeginScan { object }, after);
                }
                (Colour::Grey(Holder::Collector), Fields::Atomic)
                | (Colour::Claimed(Holder::Collector), _) => {
                    self.shade_referent(&mut after, object);
                    after.set_colour(object, Colour::Black);
                    add(Work::Scan { object }, after);
                }
                _ => {}
            }
        }
    }

    fn shade_referent(&self, state: &mut State, object: Object) {
        if let Some(referent) = state.field(object) {
            self.shade(state, referent, Holder::Collector);
        }
    }

    /// The stack is empty.
    fn begin_end(&self, state: &State, add: &mut impl FnMut(Work, State)) {
        match (self.variant.end, self.variant.decision) {
            (End::AtOnce, _) => add(Work::MarkingComplete, self.begin_deciding(state)),
            (_, Decision::AfterHandshake) => {
                add(Work::AskBuffers, in_phase(*state, Phase::Ending));
            }
            (_, Decision::BeforeHandshake) => {
                let mut after = in_phase(*state, Phase::Ending);
                let decided = decide(&mut after);
                add(Work::Decide(decided), after);
            }
        }
    }

    /// All that is reachable is marked. What an unmarked object refers to whose finalizer
    /// will be due is needed, too.
    fn begin_deciding(&self, state: &State) -> State {
        let mut after = in_phase(*state, Phase::Deciding);
        if let Finalizer::Armed(object) = state.finalizer
            && state.colour(object) == Colour::White
            && self.variant.revive == Revive::WithReferents
        {
            self.shade_referent(&mut after, object);
        }
        after
    }

    /// White is free, and what was marked is white for the next cycle.
    fn sweep(&self, state: &State) -> (ObjectSet, State) {
        let mut after = in_phase(*state, Phase::Idle);
        let mut freed = ObjectSet::default();
        for object in Object::all() {
            let cell = &mut after.cells[object.index()];
            match (cell.colour, self.variant.sweep) {
                (Colour::Free, _) => {}
                (Colour::White, _) => {
                    *cell = Cell::FREE;
                    freed.insert(object);
                }
                (_, Sweep::ClearsMarks) => cell.colour = Colour::White,
                (_, Sweep::KeepsMarks) => cell.colour = Colour::Black,
            }
        }
        after.roots_read = [false; ROOTS];
        after.queue_read = false;
        (freed, after)
    }
}

/// The state in another phase, of which nobody has answered anything yet.
fn in_phase(mut state: State, phase: Phase) -> State {
    state.phase = phase;
    state.delivered = false;
    for index in 0..MUTATORS {
        state.mutators[index].acknowledged = false;
    }
    state
}

/// Clears the weak handle and queues the finalizer, if their objects are not marked.
fn decide(state: &mut State) -> Decided {
    let is_dead = |object: &Object| state.colour(*object) == Colour::White;
    let cleared = state.weak.filter(is_dead);
    let queued = match state.finalizer {
        Finalizer::Armed(object) => Some(object).filter(is_dead),
        Finalizer::None | Finalizer::Queued(_) | Finalizer::InHand(_) => None,
    };
    if cleared.is_some() {
        state.weak = None;
    }
    if let Some(object) = queued {
        state.finalizer = Finalizer::Queued(object);
        // It lives one more cycle. What it refers to is marked already.
        state.set_colour(object, Colour::Black);
    }
    Decided { cleared, queued }
}
