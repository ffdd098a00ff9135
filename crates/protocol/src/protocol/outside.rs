//! What threads do that are no mutators, or not inside.
//!
//! Handles of roots belong to the program and go wherever it sends them. Each of these
//! is one step even for the flip: the table of roots has a lock, and the flip takes it.

use super::{Protocol, Steps};
use crate::state::{Finalizer, Holder, Object, Root, Slot, State};
use crate::step::{Deed, Step};
use crate::variant::{HandOut, RootDrop, RootSet};

impl Protocol {
    /// The steps of everybody outside.
    pub(super) fn outside_steps(&self, state: &State, found: &mut Steps) {
        for root in self.scope.root_slots() {
            let slot = Slot::Root(root);
            match (state.load(slot), state.roots[usize::from(root)]) {
                (Some(object), _) if !self.is_being_stored_into(state, slot) => {
                    self.drop_root(state, root, object, found);
                    self.set_root(state, root, object, found);
                }
                (None, Root::Empty) => {
                    self.copy_root(state, root, found);
                    self.root_queued(state, root, found);
                }
                _ => {}
            }
        }
        if self.variant.hand_out == HandOut::CarriedOutside
            && let Some(object) = self.queued(state)
        {
            let mut after = *state;
            self.shade_from_outside(&mut after, object);
            after.finalizer = Finalizer::InHand(object);
            found.push((Step::Outside(Deed::TakeQueued { object }), after));
        }
    }

    /// The barrier of who has no buffer.
    fn shade_from_outside(&self, state: &mut State, object: Object) {
        if self.barrier_is_on(state, None) {
            self.shade(state, object, Holder::Collector);
        }
    }

    fn drop_root(&self, state: &State, root: u8, object: Object, found: &mut Steps) {
        let mut after = *state;
        match self.variant.root_drop {
            RootDrop::AtNextFlip => after.roots[usize::from(root)] = Root::Dead(object),
            RootDrop::Shaded => {
                self.shade_from_outside(&mut after, object);
                after.store(Slot::Root(root), None);
            }
            RootDrop::Unshaded => after.store(Slot::Root(root), None),
        }
        found.push((Step::Outside(Deed::DropRoot { root }), after));
    }

    fn set_root(&self, state: &State, root: u8, old: Object, found: &mut Steps) {
        for from in self.scope.root_slots() {
            let Some(new) = state.load(Slot::Root(from)) else { continue };
            if new == old {
                continue;
            }
            let mut after = *state;
            if self.variant.root_set == RootSet::Shaded {
                self.shade_from_outside(&mut after, old);
            }
            after.store(Slot::Root(root), Some(new));
            found.push((Step::Outside(Deed::SetRoot { root, from }), after));
        }
    }

    /// A new handle on what another one holds needs no barrier: while the cycle runs the
    /// other one cannot be emptied without.
    fn copy_root(&self, state: &State, to: u8, found: &mut Steps) {
        for from in self.scope.root_slots() {
            if let Some(object) = state.load(Slot::Root(from)) {
                let mut after = *state;
                after.store(Slot::Root(to), Some(object));
                found.push((Step::Outside(Deed::CopyRoot { from, to }), after));
            }
        }
    }

    /// A new handle on an object whose finalizer is due: it moves out of the queue, which the
    /// collector may have yet to read, into a slot which it may have read.
    fn root_queued(&self, state: &State, root: u8, found: &mut Steps) {
        let mut after = *state;
        let object = match (self.variant.hand_out, state.finalizer) {
            (HandOut::CarriedOutside, Finalizer::InHand(object)) => object,
            (HandOut::CarriedOutside, _) => return,
            (HandOut::Shaded | HandOut::UnshadedIntoLocal, Finalizer::Queued(object)) => {
                self.shade_from_outside(&mut after, object);
                object
            }
            (HandOut::Unshaded | HandOut::UnshadedIntoRoot, Finalizer::Queued(object)) => object,
            _ => return,
        };
        after.finalizer = Finalizer::None;
        after.store(Slot::Root(root), Some(object));
        found.push((Step::Outside(Deed::RootQueued { root, object }), after));
    }
}
