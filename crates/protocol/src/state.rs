//! One moment of the model: what lies where, and who is in the middle of what.
//!
//! A state is a plain value. [`State::encode`] packs it into one word, without
//! loss, which is what the checker keeps of the millions it has seen.
//!
//! Not here: what may happen next (`protocol`), which states are the same but
//! for names (`symmetry`).

use std::num::NonZeroU8;

/// Cells of the heap. Most scopes use all of them.
pub(crate) const OBJECTS: usize = 3;
/// Mutators.
pub(crate) const MUTATORS: usize = 2;
/// Root slots.
pub(crate) const ROOTS: usize = 2;

/// An object, named by its cell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Object(NonZeroU8);

impl Object {
    pub(crate) fn new(index: usize) -> Object {
        debug_assert!(index < OBJECTS, "object {index} of {OBJECTS}");
        Object(NonZeroU8::MIN.saturating_add(index as u8))
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }

    /// All names.
    pub(crate) fn all() -> impl Iterator<Item = Object> {
        (0..OBJECTS).map(Object::new)
    }
}

/// Some objects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct ObjectSet(u8);

impl ObjectSet {
    pub(crate) fn insert(&mut self, object: Object) {
        self.0 |= 1 << object.index();
    }

    pub(crate) fn contains(self, object: Object) -> bool {
        self.0 & 1 << object.index() != 0
    }

    pub(crate) fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub(crate) fn union(self, other: ObjectSet) -> ObjectSet {
        ObjectSet(self.0 | other.0)
    }

    pub(crate) fn without(self, other: ObjectSet) -> ObjectSet {
        ObjectSet(self.0 & !other.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Object> {
        Object::all().filter(move |&object| self.contains(object))
    }
}

impl FromIterator<Object> for ObjectSet {
    fn from_iter<I: IntoIterator<Item = Object>>(objects: I) -> ObjectSet {
        let mut set = ObjectSet::default();
        objects.into_iter().for_each(|object| set.insert(object));
        set
    }
}

/// Who has an object on a stack or in a buffer, or scans it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Holder {
    Collector,
    /// The mutator of this number; its buffer is its own until it is handed over.
    Mutator(u8),
}

/// What marking knows of a cell. All but the first two are marked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Colour {
    Free,
    /// Allocated and not marked.
    White,
    /// To be scanned.
    Grey(Holder),
    /// Being scanned by its holder. Only where objects are claimed.
    Claimed(Holder),
    Black,
}

impl Colour {
    pub(crate) fn is_marked(self) -> bool {
        !matches!(self, Colour::Free | Colour::White)
    }
}

/// A cell, with the one reference its object has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Cell {
    pub(crate) colour: Colour,
    pub(crate) field: Option<Object>,
}

impl Cell {
    pub(crate) const FREE: Cell = Cell { colour: Colour::Free, field: None };
}

/// A root outside every object: a handle, or a place of a shadow stack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Root {
    Empty,
    Used(Object),
    /// Dropped; still read as a root, and not used again, until the next flip.
    Dead(Object),
}

impl Root {
    /// What the program can get at.
    pub(crate) fn object(self) -> Option<Object> {
        match self {
            Root::Used(object) => Some(object),
            Root::Empty | Root::Dead(_) => None,
        }
    }

    /// What the collector reads.
    pub(crate) fn traced(self) -> Option<Object> {
        match self {
            Root::Used(object) | Root::Dead(object) => Some(object),
            Root::Empty => None,
        }
    }
}

/// The one finalizer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Finalizer {
    None,
    Armed(Object),
    /// Its object died; the queue keeps it alive.
    Queued(Object),
    /// Taken from the queue by a thread that is no active mutator.
    InHand(Object),
}

/// A place that holds a reference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Slot {
    Root(u8),
    Field(Object),
}

/// What a mutator has begun and not finished. Others may do anything between.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Pending {
    Nothing,
    /// A store whose barrier has read the old value.
    Shade {
        slot: Slot,
        old: Object,
    },
    /// A store whose barrier is done. What is stored is chosen when it is: so this
    /// covers a call of the barrier followed by a plain store.
    Write {
        slot: Slot,
    },
    /// A store that is done but for shading what was there.
    ShadeOld {
        old: Object,
    },
    /// A store that is done and will shade what it then finds in the slot.
    ShadeSlot {
        slot: Slot,
    },
    /// A weak handle was read; its object is not shaded yet.
    Upgrade {
        object: Object,
    },
    /// An object is claimed, to be written; it is traced next.
    Trace {
        object: Object,
    },
}

/// One mutator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Mutator {
    /// Between two boundaries. Outside it holds no references.
    pub(crate) inside: bool,
    /// The references in its locals: as many as there are objects.
    pub(crate) locals: ObjectSet,
    pub(crate) pending: Pending,
    /// Has answered the handshake that runs.
    pub(crate) acknowledged: bool,
    /// Has shaded or claimed something since it last handed its buffer over. Whether that
    /// is still grey does not matter.
    pub(crate) has_worked: bool,
}

impl Mutator {
    pub(crate) const OUTSIDE: Mutator = Mutator {
        inside: false,
        locals: ObjectSet(0),
        pending: Pending::Nothing,
        acknowledged: false,
        has_worked: false,
    };
}

/// How far the collector is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    /// No cycle.
    Idle,
    /// Waits for the flip.
    Flipping,
    Marking,
    /// Asks every mutator for its buffer.
    Ending,
    /// Marking is complete; marks what finalizers will need, then decides.
    Deciding,
    /// The barrier is off; waits until every mutator knows.
    Closing,
}

/// Everything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct State {
    pub(crate) cells: [Cell; OBJECTS],
    pub(crate) roots: [Root; ROOTS],
    /// Which roots the collector has read in this cycle.
    pub(crate) roots_read: [bool; ROOTS],
    pub(crate) finalizer: Finalizer,
    /// Whether the collector has read the queue in this cycle.
    pub(crate) queue_read: bool,
    /// What the one weak handle names; cleared is none.
    pub(crate) weak: Option<Object>,
    pub(crate) mutators: [Mutator; MUTATORS],
    pub(crate) phase: Phase,
    /// Whether an answer to the handshake brought anything.
    pub(crate) delivered: bool,
}

impl State {
    /// An empty heap, nobody inside.
    pub(crate) const EMPTY: State = State {
        cells: [Cell::FREE; OBJECTS],
        roots: [Root::Empty; ROOTS],
        roots_read: [false; ROOTS],
        finalizer: Finalizer::None,
        queue_read: false,
        weak: None,
        mutators: [Mutator::OUTSIDE; MUTATORS],
        phase: Phase::Idle,
        delivered: false,
    };

    pub(crate) fn colour(&self, object: Object) -> Colour {
        self.cells[object.index()].colour
    }

    pub(crate) fn set_colour(&mut self, object: Object, colour: Colour) {
        self.cells[object.index()].colour = colour;
    }

    pub(crate) fn field(&self, object: Object) -> Option<Object> {
        self.cells[object.index()].field
    }

    /// The reference in a slot.
    pub(crate) fn load(&self, slot: Slot) -> Option<Object> {
        match slot {
            Slot::Root(root) => self.roots[usize::from(root)].object(),
            Slot::Field(object) => self.field(object),
        }
    }

    pub(crate) fn store(&mut self, slot: Slot, value: Option<Object>) {
        match slot {
            Slot::Root(root) => {
                self.roots[usize::from(root)] = value.map_or(Root::Empty, Root::Used);
            }
            Slot::Field(object) => self.cells[object.index()].field = value,
        }
    }

    /// What the program can get at by reading roots.
    pub(crate) fn rooted(&self) -> ObjectSet {
        let mut set = ObjectSet::default();
        for object in self.roots.iter().filter_map(|root| root.object()) {
            set.insert(object);
        }
        set
    }

    /// What can be got at from some objects, themselves included.
    pub(crate) fn reachable_from(&self, from: ObjectSet) -> ObjectSet {
        let mut reached = from;
        // An object has one field, so nothing is further than this.
        for _ in 1..OBJECTS {
            for object in reached.iter() {
                if let Some(next) = self.field(object) {
                    reached.insert(next);
                }
            }
        }
        reached
    }
}

// --- packing -----------------------------------------------------------------

/// Numbers in one word. What was put last is taken first.
struct Packer {
    word: u64,
    bits: u32,
}

impl Packer {
    fn put(&mut self, number: usize, bits: u32) {
        debug_assert!(number < 1 << bits, "{number} in {bits} bits");
        self.word = self.word << bits | number as u64;
        self.bits += bits;
        debug_assert!(self.bits <= u64::BITS, "a state does not fit in a word");
    }

    fn take(&mut self, bits: u32) -> usize {
        let number = self.word & ((1 << bits) - 1);
        self.word >>= bits;
        number as usize
    }
}

/// Bits for one of so many.
const fn bits_for(possibilities: usize) -> u32 {
    possibilities.next_power_of_two().trailing_zeros()
}

const HOLDERS: usize = MUTATORS + 1;
const SLOTS: usize = ROOTS + OBJECTS;

const FLAG: u32 = 1;
const REFERENCE: u32 = bits_for(OBJECTS + 1);
const SET: u32 = OBJECTS as u32;
const COLOUR: u32 = bits_for(3 + 2 * HOLDERS);
const ROOT: u32 = bits_for(1 + 2 * OBJECTS);
const FINALIZER: u32 = bits_for(1 + 3 * OBJECTS);
const PENDING: u32 = bits_for(1 + SLOTS * OBJECTS + 2 * SLOTS + 3 * OBJECTS);
const PHASE: u32 = bits_for(Phase::ALL.len());

fn reference_number(reference: Option<Object>) -> usize {
    reference.map_or(0, |object| object.index() + 1)
}

fn reference(number: usize) -> Option<Object> {
    number.checked_sub(1).map(Object::new)
}

fn slot_number(slot: Slot) -> usize {
    match slot {
        Slot::Root(root) => usize::from(root),
        Slot::Field(object) => ROOTS + object.index(),
    }
}

fn slot(number: usize) -> Slot {
    match number.checked_sub(ROOTS) {
        None => Slot::Root(number as u8),
        Some(index) => Slot::Field(Object::new(index)),
    }
}

impl Holder {
    fn number(self) -> usize {
        match self {
            Holder::Collector => 0,
            Holder::Mutator(mutator) => 1 + usize::from(mutator),
        }
    }

    fn from_number(number: usize) -> Holder {
        match number.checked_sub(1) {
            None => Holder::Collector,
            Some(mutator) => Holder::Mutator(mutator as u8),
        }
    }
}

impl Colour {
    pub(crate) fn number(self) -> usize {
        match self {
            Colour::Free => 0,
            Colour::White => 1,
            Colour::Black => 2,
            Colour::Grey(holder) => 3 + holder.number(),
            Colour::Claimed(holder) => 3 + HOLDERS + holder.number(),
        }
    }

    fn from_number(number: usize) -> Colour {
        match number {
            0 => Colour::Free,
            1 => Colour::White,
            2 => Colour::Black,
            _ if number < 3 + HOLDERS => Colour::Grey(Holder::from_number(number - 3)),
            _ => Colour::Claimed(Holder::from_number(number - 3 - HOLDERS)),
        }
    }
}

impl Root {
    fn number(self) -> usize {
        match self {
            Root::Empty => 0,
            Root::Used(object) => 1 + object.index(),
            Root::Dead(object) => 1 + OBJECTS + object.index(),
        }
    }

    fn from_number(number: usize) -> Root {
        match number {
            0 => Root::Empty,
            _ if number <= OBJECTS => Root::Used(Object::new(number - 1)),
            _ => Root::Dead(Object::new(number - 1 - OBJECTS)),
        }
    }
}

impl Finalizer {
    fn number(self) -> usize {
        match self {
            Finalizer::None => 0,
            Finalizer::Armed(object) => 1 + object.index(),
            Finalizer::Queued(object) => 1 + OBJECTS + object.index(),
            Finalizer::InHand(object) => 1 + 2 * OBJECTS + object.index(),
        }
    }

    fn from_number(number: usize) -> Finalizer {
        let Some(number) = number.checked_sub(1) else { return Finalizer::None };
        let object = Object::new(number % OBJECTS);
        match number / OBJECTS {
            0 => Finalizer::Armed(object),
            1 => Finalizer::Queued(object),
            _ => Finalizer::InHand(object),
        }
    }
}

impl Pending {
    pub(crate) fn number(self) -> usize {
        match self {
            Pending::Nothing => 0,
            Pending::Shade { slot, old } => 1 + slot_number(slot) * OBJECTS + old.index(),
            Pending::Write { slot } => WRITE + slot_number(slot),
            Pending::ShadeSlot { slot } => SHADE_SLOT + slot_number(slot),
            Pending::ShadeOld { old } => SHADE_OLD + old.index(),
            Pending::Upgrade { object } => UPGRADE + object.index(),
            Pending::Trace { object } => TRACE + object.index(),
        }
    }

    fn from_number(number: usize) -> Pending {
        match number {
            0 => Pending::Nothing,
            1..WRITE => Pending::Shade {
                slot: slot((number - 1) / OBJECTS),
                old: Object::new((number - 1) % OBJECTS),
            },
            WRITE..SHADE_SLOT => Pending::Write { slot: slot(number - WRITE) },
            SHADE_SLOT..SHADE_OLD => Pending::ShadeSlot { slot: slot(number - SHADE_SLOT) },
            SHADE_OLD..UPGRADE => Pending::ShadeOld { old: Object::new(number - SHADE_OLD) },
            UPGRADE..TRACE => Pending::Upgrade { object: Object::new(number - UPGRADE) },
            _ => Pending::Trace { object: Object::new(number - TRACE) },
        }
    }

    /// Which of the kinds it is.
    pub(crate) fn kind(self) -> usize {
        match self {
            Pending::Nothing => 0,
            Pending::Shade { .. } => 1,
            Pending::Write { .. } => 2,
            Pending::ShadeSlot { .. } => 3,
            Pending::ShadeOld { .. } => 4,
            Pending::Upgrade { .. } => 5,
            Pending::Trace { .. } => 6,
        }
    }
}

// The first number of each kind of `Pending`.
const WRITE: usize = 1 + SLOTS * OBJECTS;
const SHADE_SLOT: usize = WRITE + SLOTS;
const SHADE_OLD: usize = SHADE_SLOT + SLOTS;
const UPGRADE: usize = SHADE_OLD + OBJECTS;
const TRACE: usize = UPGRADE + OBJECTS;

impl Phase {
    const ALL: [Phase; 6] = [
        Phase::Idle,
        Phase::Flipping,
        Phase::Marking,
        Phase::Ending,
        Phase::Deciding,
        Phase::Closing,
    ];
}

impl State {
    /// The state as one word.
    pub(crate) fn encode(&self) -> u64 {
        let mut packer = Packer { word: 0, bits: 0 };
        for cell in &self.cells {
            packer.put(cell.colour.number(), COLOUR);
            packer.put(reference_number(cell.field), REFERENCE);
        }
        for (root, read) in self.roots.iter().zip(self.roots_read) {
            packer.put(root.number(), ROOT);
            packer.put(usize::from(read), FLAG);
        }
        packer.put(self.finalizer.number(), FINALIZER);
        packer.put(usize::from(self.queue_read), FLAG);
        packer.put(reference_number(self.weak), REFERENCE);
        for mutator in &self.mutators {
            packer.put(usize::from(mutator.inside), FLAG);
            packer.put(usize::from(mutator.acknowledged), FLAG);
            packer.put(usize::from(mutator.locals.0), SET);
            packer.put(mutator.pending.number(), PENDING);
            packer.put(usize::from(mutator.has_worked), FLAG);
        }
        packer.put(self.phase as usize, PHASE);
        packer.put(usize::from(self.delivered), FLAG);
        packer.word
    }

    /// The state that [`encode`](State::encode) packed.
    pub(crate) fn decode(word: u64) -> State {
        let mut packer = Packer { word, bits: 0 };
        let mut state = State::EMPTY;
        state.delivered = packer.take(FLAG) == 1;
        state.phase = Phase::ALL[packer.take(PHASE)];
        for mutator in state.mutators.iter_mut().rev() {
            mutator.has_worked = packer.take(FLAG) == 1;
            mutator.pending = Pending::from_number(packer.take(PENDING));
            mutator.locals = ObjectSet(packer.take(SET) as u8);
            mutator.acknowledged = packer.take(FLAG) == 1;
            mutator.inside = packer.take(FLAG) == 1;
        }
        state.weak = reference(packer.take(REFERENCE));
        state.queue_read = packer.take(FLAG) == 1;
        state.finalizer = Finalizer::from_number(packer.take(FINALIZER));
        for index in (0..ROOTS).rev() {
            state.roots_read[index] = packer.take(FLAG) == 1;
            state.roots[index] = Root::from_number(packer.take(ROOT));
        }
        for cell in state.cells.iter_mut().rev() {
            cell.field = reference(packer.take(REFERENCE));
            cell.colour = Colour::from_number(packer.take(COLOUR));
        }
        state
    }
}
