//! What a mutator may do.
//!
//! What it has begun it finishes, before it does anything else: before it leaves, too, and before
//! it answers a handshake. An implementation gets this for free, because boundaries and polls are calls.

use super::{Protocol, Steps};
use crate::scope::{Fields, Present, Reads};
use crate::state::{Colour, Finalizer, Holder, Mutator, Object, Pending, Phase, Root, Slot, State};
use crate::step::{Act, Barrier, Step};
use crate::variant::{BarrierOff, Buffer, Claim, End, Flip, HandOut, Store, Upgrade};

impl Protocol {
    /// The steps of one mutator.
    pub(super) fn mutator_steps(&self, state: &State, index: usize, found: &mut Steps) {
        let mut can = Can { protocol: self, before: state, index, found };
        if !state.mutators[index].inside {
            can.enter();
        } else if state.mutators[index].pending == Pending::Nothing {
            can.leave();
            can.read();
            can.allocate();
            can.begin_store();
            can.use_weak();
            can.use_finalizer();
        } else {
            can.go_on();
        }
        can.acknowledge();
    }
}

/// The steps of one mutator, being collected.
struct Can<'c> {
    protocol: &'c Protocol,
    before: &'c State,
    index: usize,
    found: &'c mut Steps,
}

impl Can<'_> {
    fn me(&self) -> &Mutator {
        &self.before.mutators[self.index]
    }

    fn holder(&self) -> Holder {
        Holder::Mutator(self.index as u8)
    }

    fn barrier_is_on(&self) -> bool {
        self.protocol.barrier_is_on(self.before, Some(self.index))
    }

    /// Adds a step that changes the state so. The change is told who this is.
    fn add(&mut self, act: Act, change: impl FnOnce(&mut State, usize)) {
        let mut after = *self.before;
        change(&mut after, self.index);
        self.found.push((Step::Mutator(self.index, act), after));
    }

    fn enter(&mut self) {
        if !self.protocol.gate_is_closed(self.before) {
            self.add(Act::Enter, |after, me| after.mutators[me].inside = true);
        }
    }

    fn leave(&mut self) {
        let Mutator { acknowledged, has_worked, .. } = *self.me();
        self.add(Act::Leave, |after, me| {
            after.mutators[me] = Mutator { acknowledged, has_worked, ..Mutator::OUTSIDE };
        });
    }

    /// Reads one reference. Greedy readers have it already.
    fn read(&mut self) {
        if self.protocol.scope.reads == Reads::Greedy {
            return;
        }
        for slot in self.slots() {
            if let Some(object) = self.before.load(slot)
                && !self.me().locals.contains(object)
            {
                self.add(Act::Read { slot, object }, |after, me| {
                    after.mutators[me].locals.insert(object);
                });
            }
        }
    }

    /// The slots a mutator can name.
    fn slots(&self) -> Vec<Slot> {
        let is_dead = |root: u8| matches!(self.before.roots[usize::from(root)], Root::Dead(_));
        let roots = self.protocol.scope.root_slots().filter(|&root| !is_dead(root));
        let roots = roots.map(Slot::Root);
        roots.chain(self.me().locals.iter().map(Slot::Field)).collect()
    }

    /// The references a mutator can store.
    fn values(&self) -> impl Iterator<Item = Option<Object>> + use<> {
        let locals = self.me().locals;
        core::iter::once(None).chain(locals.iter().map(Some))
    }

    /// A new object, whose slot gets its first value before anybody sees it.
    fn allocate(&mut self) {
        let free = |object: &Object| self.before.colour(*object) == Colour::Free;
        let taken = Object::all().count() - Object::all().filter(free).count();
        let Some(object) = Object::all().find(free) else { return };
        if taken >= self.protocol.scope.objects {
            return;
        }
        let colour = self.protocol.allocation_colour(self.before, self.index);
        for field in self.values() {
            self.add(Act::Allocate { object, field }, |after, me| {
                after.set_colour(object, colour);
                after.store(Slot::Field(object), field);
                after.mutators[me].locals.insert(object);
            });
        }
    }

    fn begin_store(&mut self) {
        for slot in self.slots() {
            match slot {
                Slot::Field(object) if self.protocol.scope.fields == Fields::Claimed => {
                    self.begin_claimed_store(object);
                }
                _ => self.begin_atomic_store(slot),
            }
        }
    }

    fn begin_atomic_store(&mut self, slot: Slot) {
        let old = self.before.load(slot);
        let barrier = match (self.protocol.variant.store, old) {
            _ if !self.barrier_is_on() => Barrier::Off,
            (Store::Unshaded, _) => Barrier::Off,
            (Store::ReadAfterwards, _) => Barrier::Later,
            (Store::ShadeFirst | Store::ShadeLast, None) => Barrier::Nothing,
            (Store::ShadeFirst, Some(old)) if self.stays_marked(old) => Barrier::Nothing,
            (Store::ShadeFirst | Store::ShadeLast, Some(old)) => Barrier::Shade(old),
        };
        if barrier == Barrier::Off && self.protocol.variant.flip == Flip::Rendezvous {
            // It stays off until this mutator has left, so nobody can tell that
            // this is two steps.
            return self.store(slot);
        }
        self.add(Act::BeginStore { slot, barrier }, |after, me| {
            after.mutators[me].pending = match barrier {
                Barrier::Shade(old) => Pending::Shade { slot, old },
                _ => Pending::Write { slot },
            };
        });
    }

    /// Whether an object is marked, and will be as long as this mutator has a store
    /// under way: marks are not cleared before it has answered, and it answers
    /// between stores. Then shading it is nothing that anybody could see.
    fn stays_marked(&self, object: Object) -> bool {
        self.before.colour(object).is_marked()
            && self.protocol.variant.barrier_off == BarrierOff::Handshake
    }

    /// Stores in one step.
    fn store(&mut self, slot: Slot) {
        for new in self.values() {
            self.add(Act::Store { slot, new }, |after, _| after.store(slot, new));
        }
    }

    /// The last step of a store, or the last but one.
    fn write(&mut self, slot: Slot, then: Pending) {
        for new in self.values() {
            self.add(Act::Write { slot, new }, |after, me| {
                after.store(slot, new);
                after.mutators[me].pending = then;
            });
        }
    }

    /// A store into an object that only one thread at a time may touch. That no
    /// two mutators do is up to the program.
    fn begin_claimed_store(&mut self, object: Object) {
        let slot = Slot::Field(object);
        if self.protocol.is_being_stored_into(self.before, slot) {
            return;
        }
        let colour = self.before.colour(object);
        let scanned_by_collector = colour == Colour::Claimed(Holder::Collector);
        match self.protocol.variant.claim {
            _ if !self.barrier_is_on() => {}
            Claim::ShadeOnly => return self.begin_atomic_store(slot),
            // Waits: the collector's claim ends.
            Claim::TraceFirst | Claim::Unreported | Claim::WriteFirst if scanned_by_collector => {
                return;
            }
            Claim::WithoutWaiting if scanned_by_collector => {}
            _ if colour == Colour::Black => {}
            Claim::WriteFirst => {
                for new in self.values() {
                    self.add(Act::Write { slot, new }, |after, me| {
                        after.store(slot, new);
                        after.set_colour(object, Colour::Claimed(Holder::Mutator(me as u8)));
                        after.mutators[me].pending = Pending::Trace { object };
                        after.mutators[me].has_worked = true;
                    });
                }
                return;
            }
            Claim::TraceFirst | Claim::WithoutWaiting | Claim::Unreported => {
                let claimed = Colour::Claimed(self.holder());
                let reported = self.protocol.variant.claim != Claim::Unreported;
                return self.add(Act::Claim { object }, |after, me| {
                    after.set_colour(object, claimed);
                    after.mutators[me].pending = Pending::Trace { object };
                    after.mutators[me].has_worked |= reported;
                });
            }
        }
        // Nobody else may touch the object, so nobody can tell that this is two steps.
        self.store(slot);
    }

    /// The next step of what was begun.
    fn go_on(&mut self) {
        let holder = self.holder();
        let protocol = self.protocol;
        let mut after = *self.before;
        let (act, pending) = match self.me().pending {
            Pending::Nothing => return,
            Pending::Shade { slot, old } if protocol.variant.store == Store::ShadeLast => {
                return self.write(slot, Pending::ShadeOld { old });
            }
            Pending::Shade { slot, old } => {
                let found = protocol.shade(&mut after, old, holder);
                (Act::Shade { object: old, found }, Pending::Write { slot })
            }
            Pending::Write { slot } => {
                let later = protocol.variant.store == Store::ReadAfterwards && self.barrier_is_on();
                let then = if later { Pending::ShadeSlot { slot } } else { Pending::Nothing };
                return self.write(slot, then);
            }
            Pending::ShadeOld { old } => {
                let found = protocol.shade(&mut after, old, holder);
                (Act::Shade { object: old, found }, Pending::Nothing)
            }
            Pending::ShadeSlot { slot } => {
                let act = match after.load(slot) {
                    None => Act::FindNull { slot },
                    Some(object) => {
                        let found = protocol.shade(&mut after, object, holder);
                        Act::Shade { object, found }
                    }
                };
                (act, Pending::Nothing)
            }
            Pending::Upgrade { object } => {
                let found = protocol.shade(&mut after, object, holder);
                after.mutators[self.index].locals.insert(object);
                (Act::Upgrade { object, found }, Pending::Nothing)
            }
            Pending::Trace { object } => {
                if let Some(referent) = after.field(object) {
                    protocol.shade(&mut after, referent, holder);
                }
                after.set_colour(object, Colour::Black);
                (Act::Trace { object }, Pending::Nothing)
            }
        };
        after.mutators[self.index].pending = pending;
        self.found.push((Step::Mutator(self.index, act), after));
    }

    fn use_weak(&mut self) {
        if self.protocol.scope.weak == Present::No {
            return;
        }
        let Some(object) = self.before.weak else {
            for object in self.me().locals.iter() {
                self.add(Act::MakeWeak { object }, |after, _| after.weak = Some(object));
            }
            return;
        };
        if self.me().locals.contains(object) {
            return;
        }
        let barrier = match (self.protocol.variant.upgrade, self.before.phase) {
            _ if !self.barrier_is_on() => Barrier::Off,
            (Upgrade::Unshaded, _) => Barrier::Off,
            // Waits. A poll meanwhile is another step.
            (Upgrade::ShadesOrWaits, Phase::Deciding) => return,
            (Upgrade::ShadesOrWaits | Upgrade::TakesRevived, Phase::Ending | Phase::Deciding) => {
                if !self.before.colour(object).is_marked() {
                    return;
                }
                Barrier::Nothing
            }
            (Upgrade::ShadesOrWaits | Upgrade::TakesRevived | Upgrade::Shades, _) => {
                Barrier::Shade(object)
            }
        };
        self.add(Act::ReadWeak { object, barrier }, |after, me| match barrier {
            Barrier::Shade(object) => after.mutators[me].pending = Pending::Upgrade { object },
            _ => after.mutators[me].locals.insert(object),
        });
    }

    fn use_finalizer(&mut self) {
        if self.protocol.scope.finalizer == Present::No {
            return;
        }
        if self.before.finalizer == Finalizer::None {
            for object in self.me().locals.iter() {
                self.add(Act::SetFinalizer { object }, |after, _| {
                    after.finalizer = Finalizer::Armed(object);
                });
            }
        }
        if let Some(object) = self.protocol.queued(self.before) {
            let (protocol, holder, on) = (self.protocol, self.holder(), self.barrier_is_on());
            let shades = match protocol.variant.hand_out {
                HandOut::Shaded | HandOut::UnshadedIntoRoot | HandOut::CarriedOutside => on,
                HandOut::Unshaded | HandOut::UnshadedIntoLocal => false,
            };
            self.add(Act::TakeQueued { object }, |after, me| {
                if shades {
                    protocol.shade(after, object, holder);
                }
                after.finalizer = Finalizer::None;
                after.mutators[me].locals.insert(object);
            });
        }
    }

    /// Answers a handshake: at a boundary, or inside at a poll, keeping its locals. For
    /// who is outside the collector does it.
    fn acknowledge(&mut self) {
        let Mutator { inside, pending, acknowledged, .. } = *self.me();
        let asked = match self.before.phase {
            Phase::Ending | Phase::Closing => !inside || self.protocol.variant.end != End::Stop,
            // To have heard of the flip means to hold nothing from before.
            Phase::Flipping => !inside && self.protocol.variant.flip == Flip::Ragged,
            Phase::Idle | Phase::Marking | Phase::Deciding => false,
        };
        if !asked || acknowledged || pending != Pending::Nothing {
            return;
        }
        let mine = Colour::Grey(self.holder());
        let handed_over = match self.protocol.variant.buffer {
            Buffer::Own | Buffer::None => Colour::Grey(Holder::Collector),
            Buffer::Lost => Colour::Black,
        };
        self.add(Act::Acknowledge, |after, me| {
            for cell in &mut after.cells {
                if cell.colour == mine {
                    cell.colour = handed_over;
                }
            }
            let me = &mut after.mutators[me];
            after.delivered |= me.has_worked;
            me.has_worked = false;
            me.acknowledged = true;
        });
    }
}
