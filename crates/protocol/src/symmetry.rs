//! States that differ in names only are one state.
//!
//! Objects, root slots and mutators have numbers because memory has addresses; no
//! rule of the protocol looks at them. Of all states that renaming makes of one
//! another, [`canonical`] packs the one with the least word, so that the search
//! meets each class once.
//!
//! Not all renamings are tried. Everybody gets a *rank* that says what can be said
//! without names (of an object: its colour, who refers to it), and new names go by
//! rank. Only among equals all orders are tried.

use crate::scope::Scope;
use crate::state::{
    Cell, Colour, Finalizer, Holder, MUTATORS, Mutator, OBJECTS, Object, ObjectSet, Pending, ROOTS,
    Root, Slot, State,
};

/// New numbers by old ones.
#[derive(Clone, Copy)]
struct Names {
    objects: [u8; OBJECTS],
    roots: [u8; ROOTS],
    mutators: [u8; MUTATORS],
}

/// Every order of three and of two.
const ORDERS_OF_3: [[u8; 3]; 6] =
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
const ORDERS_OF_2: [[u8; 2]; 2] = [[0, 1], [1, 0]];

const _: () = assert!(OBJECTS == 3 && ROOTS == 2 && MUTATORS == 2);

/// The least word of all states that are this one but for names.
pub(crate) fn canonical(state: &State, scope: &Scope) -> u64 {
    // What a small scope has no use of stays where it is, behind the others.
    let unused = |index: usize, used: usize| if index < used { 0 } else { u32::MAX };
    let mutators: [u32; MUTATORS] = core::array::from_fn(|index| {
        mutator_rank(&state.mutators[index]).max(unused(index, scope.mutators))
    });
    let roots: [u32; ROOTS] =
        core::array::from_fn(|index| root_rank(state, index).max(unused(index, scope.roots)));

    let mut least = u64::MAX;
    for mutators in orders(ORDERS_OF_2, mutators) {
        for roots in orders(ORDERS_OF_2, roots) {
            let names = Names { objects: ORDERS_OF_3[0], roots, mutators };
            for objects in orders(ORDERS_OF_3, object_ranks(state, &names)) {
                least = least.min(names.with_objects(objects).rename(state).encode());
            }
        }
    }
    least
}

/// The orders in which numbers go up with the rank.
fn orders<const N: usize, const ALL: usize>(
    all: [[u8; N]; ALL],
    ranks: [u32; N],
) -> impl Iterator<Item = [u8; N]> {
    all.into_iter().filter(move |order| {
        (0..N).all(|a| (0..N).all(|b| ranks[a] >= ranks[b] || order[a] < order[b]))
    })
}

fn mutator_rank(mutator: &Mutator) -> u32 {
    let mut rank = Rank::default();
    rank.add(mutator.inside);
    rank.add(mutator.acknowledged);
    rank.add(mutator.has_worked);
    rank.add_number(mutator.pending.kind(), 3);
    rank.add_number(mutator.locals.len() as usize, 2);
    rank.0
}

fn root_rank(state: &State, index: usize) -> u32 {
    let mut rank = Rank::default();
    rank.add(state.roots[index].object().is_some());
    rank.add(state.roots[index].traced().is_some());
    rank.add(state.roots_read[index]);
    rank.0
}

/// The ranks of the objects, in the new names of roots and mutators.
fn object_ranks(state: &State, names: &Names) -> [u32; OBJECTS] {
    let mut ranks = Ranks::default();
    for cell in &state.cells {
        // Up to three objects refer to one.
        ranks.count(cell.field);
    }
    ranks.next(2);
    for number in 0..ROOTS {
        ranks.count(state.roots[position(names.roots, number)].traced());
        ranks.next(1);
    }
    ranks.count(state.weak);
    ranks.next(1);
    ranks.count(match state.finalizer {
        Finalizer::None => None,
        Finalizer::Armed(object) | Finalizer::Queued(object) | Finalizer::InHand(object) => {
            Some(object)
        }
    });
    ranks.next(1);
    for number in 0..MUTATORS {
        let mutator = &state.mutators[position(names.mutators, number)];
        mutator.locals.iter().for_each(|object| ranks.count(Some(object)));
        ranks.next(1);
        let (place, held) = match mutator.pending {
            Pending::Nothing => (None, None),
            Pending::Shade { slot, old } => (Some(slot), Some(old)),
            Pending::Write { slot } | Pending::ShadeSlot { slot } => (Some(slot), None),
            Pending::ShadeOld { old: object }
            | Pending::Upgrade { object }
            | Pending::Trace { object } => (None, Some(object)),
        };
        ranks.count(held);
        ranks.next(1);
        if let Some(Slot::Field(object)) = place {
            ranks.count(Some(object));
        }
        ranks.next(1);
    }
    let mut index = 0;
    ranks.of.map(|named| {
        let Cell { colour, field } = state.cells[index];
        let own = field == Some(Object::new(index));
        index += 1;
        if colour == Colour::Free && named == 0 {
            // Last. One free cell is like another, so both orders need not be tried.
            return u32::MAX - OBJECTS as u32 + index as u32;
        }
        let colour = names.colour(colour).number() as u32;
        named << 6 | colour << 2 | u32::from(field.is_some()) << 1 | u32::from(own)
    })
}

/// How often each object is named, by kind of name.
#[derive(Default)]
struct Ranks {
    of: [u32; OBJECTS],
    shift: u32,
}

impl Ranks {
    fn count(&mut self, object: Option<Object>) {
        if let Some(object) = object {
            self.of[object.index()] += 1 << self.shift;
        }
    }

    /// The next kind; the last one's counts are below `1 << bits`.
    fn next(&mut self, bits: u32) {
        self.shift += bits;
    }
}

/// The old number of what has a new one.
fn position<const N: usize>(names: [u8; N], number: usize) -> usize {
    names.iter().position(|&new| usize::from(new) == number).expect("names are an order")
}

/// Properties, one behind the other, as a number to sort by.
#[derive(Default)]
struct Rank(u32);

impl Rank {
    fn add(&mut self, property: bool) {
        self.add_number(usize::from(property), 1);
    }

    fn add_number(&mut self, number: usize, bits: u32) {
        debug_assert!(number < 1 << bits && self.0.leading_zeros() >= bits);
        self.0 = self.0 << bits | number as u32;
    }
}

impl Names {
    fn with_objects(self, objects: [u8; OBJECTS]) -> Names {
        Names { objects, ..self }
    }

    fn object(&self, object: Object) -> Object {
        Object::new(usize::from(self.objects[object.index()]))
    }

    fn reference(&self, reference: Option<Object>) -> Option<Object> {
        reference.map(|object| self.object(object))
    }

    fn holder(&self, holder: Holder) -> Holder {
        match holder {
            Holder::Collector => Holder::Collector,
            Holder::Mutator(mutator) => Holder::Mutator(self.mutators[usize::from(mutator)]),
        }
    }

    fn colour(&self, colour: Colour) -> Colour {
        match colour {
            Colour::Grey(holder) => Colour::Grey(self.holder(holder)),
            Colour::Claimed(holder) => Colour::Claimed(self.holder(holder)),
            Colour::Free | Colour::White | Colour::Black => colour,
        }
    }

    fn slot(&self, slot: Slot) -> Slot {
        match slot {
            Slot::Root(root) => Slot::Root(self.roots[usize::from(root)]),
            Slot::Field(object) => Slot::Field(self.object(object)),
        }
    }

    fn pending(&self, pending: Pending) -> Pending {
        match pending {
            Pending::Nothing => Pending::Nothing,
            Pending::Shade { slot, old } => {
                Pending::Shade { slot: self.slot(slot), old: self.object(old) }
            }
            Pending::Write { slot } => Pending::Write { slot: self.slot(slot) },
            Pending::ShadeOld { old } => Pending::ShadeOld { old: self.object(old) },
            Pending::ShadeSlot { slot } => Pending::ShadeSlot { slot: self.slot(slot) },
            Pending::Upgrade { object } => Pending::Upgrade { object: self.object(object) },
            Pending::Trace { object } => Pending::Trace { object: self.object(object) },
        }
    }

    fn rename(&self, state: &State) -> State {
        let mut renamed = State {
            phase: state.phase,
            queue_read: state.queue_read,
            delivered: state.delivered,
            ..State::EMPTY
        };
        for object in Object::all() {
            let Cell { colour, field } = state.cells[object.index()];
            renamed.cells[self.object(object).index()] =
                Cell { colour: self.colour(colour), field: self.reference(field) };
        }
        for (old, &new) in self.roots.iter().enumerate() {
            let new = usize::from(new);
            renamed.roots[new] = match state.roots[old] {
                Root::Empty => Root::Empty,
                Root::Used(object) => Root::Used(self.object(object)),
                Root::Dead(object) => Root::Dead(self.object(object)),
            };
            renamed.roots_read[new] = state.roots_read[old];
        }
        renamed.finalizer = match state.finalizer {
            Finalizer::None => Finalizer::None,
            Finalizer::Armed(object) => Finalizer::Armed(self.object(object)),
            Finalizer::Queued(object) => Finalizer::Queued(self.object(object)),
            Finalizer::InHand(object) => Finalizer::InHand(self.object(object)),
        };
        renamed.weak = self.reference(state.weak);
        for (old, &new) in self.mutators.iter().enumerate() {
            let mutator = &state.mutators[old];
            let mut locals = ObjectSet::default();
            mutator.locals.iter().for_each(|object| locals.insert(self.object(object)));
            renamed.mutators[usize::from(new)] =
                Mutator { locals, pending: self.pending(mutator.pending), ..*mutator };
        }
        renamed
    }
}
