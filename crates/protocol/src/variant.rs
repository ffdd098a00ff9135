//! The protocol's rules as data.
//!
//! Each enum is one question the protocol answers, its variants are answers.
//! The first one of each is what ships; the others are sound alternatives or mistakes,
//! and which is which is what the checker says. `protocol` reads these and has no other
//! opinion.

/// When do mutators learn that a cycle begins?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flip {
    /// All at once, at a moment when none is inside.
    Rendezvous,
    /// One after the other, each at its next boundary; marking begins after the last.
    Ragged,
}

/// When does the barrier begin?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BarrierOn {
    AtFlip,
    /// When the collector has read all roots.
    AfterRoots,
}

/// When are roots and the finalizer queue read?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RootsRead {
    /// One at a time, while mutators run.
    Beside,
    /// All in the stop of the flip.
    InFlip,
}

/// What does a store of a reference do while the barrier is on?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Store {
    /// Reads the old value, shades it, stores.
    ShadeFirst,
    /// Reads the old value, stores, shades the old value.
    ShadeLast,
    /// Stores, reads the slot, shades what it read.
    ReadAfterwards,
    /// Stores.
    Unshaded,
}

/// Where does a mutator put what it shades?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Buffer {
    /// In a buffer of its own, which a handshake hands over.
    Own,
    /// On the collector's stack.
    None,
    /// In a buffer of its own, which the handshake throws away.
    Lost,
}

/// Which colour has a new object?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Allocation {
    /// Black from the flip to the sweep, white otherwise.
    BlackUntilSweep,
    /// Black while the barrier is on.
    BlackWithBarrier,
    White,
}

/// What does dropping a root do, on any thread at any time?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RootDrop {
    /// The slot is dead and stays a root until the next flip.
    AtNextFlip,
    /// Shades what the slot holds and empties it, in one step.
    Shaded,
    /// Empties the slot.
    Unshaded,
}

/// What does changing a root from outside do, on any thread at any time?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RootSet {
    /// Shades the old value and stores the new, in one step.
    Shaded,
    /// Stores the new value.
    Unshaded,
}

/// How does an object come from the finalizer queue into a local or a root?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HandOut {
    /// Shades it and takes it off the queue, in one step.
    Shaded,
    /// Takes it off the queue.
    Unshaded,
    /// Into a local unshaded, into a root shaded.
    UnshadedIntoLocal,
    /// Into a local shaded, into a root unshaded.
    UnshadedIntoRoot,
    /// A thread outside takes it off the queue, shaded, and roots it a while later.
    CarriedOutside,
}

/// What does reading a weak handle do while the barrier is on?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Upgrade {
    /// Shades the object. While the end's handshake runs, takes what is marked, and waits for
    /// the decision with what is not; waits while it is being decided.
    ShadesOrWaits,
    /// The same, but takes what is marked while it is being decided.
    TakesRevived,
    /// Shades the object, at any time.
    Shades,
    /// Takes the object as it is.
    Unshaded,
}

/// What happens when the collector's stack is empty?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Every mutator hands its buffer over, at a boundary or a poll; again until a whole
    /// round brought nothing.
    Handshake,
    /// The world is stopped until the cycle is over, unless the buffers bring something.
    Stop,
    /// One round, and what it brought is marked.
    OneRound,
    /// Nothing: marking is over.
    AtOnce,
}

/// When has a round of the handshake brought something?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Round {
    /// When a buffer was not empty.
    Delivered,
    /// When something in a buffer was not scanned by somebody else meanwhile.
    Unscanned,
}

/// When are weak handles and finalizers decided?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    AfterHandshake,
    /// When the stack is empty for the first time.
    BeforeHandshake,
}

/// What is marked for an object whose finalizer is due?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Revive {
    /// The object and what it refers to.
    WithReferents,
    ObjectOnly,
}

/// Are queued objects roots of later cycles?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Queue {
    IsRoot,
    IsNoRoot,
}

/// When may the marks be turned into survivors, after the barrier went off?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BarrierOff {
    /// When every mutator has answered since.
    Handshake,
    AtOnce,
}

/// What becomes of the marks when the dead are freed?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sweep {
    ClearsMarks,
    KeepsMarks,
}

/// What does the first store of a cycle into an object do, where objects are claimed?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// Claims the object, shades what it refers to, stores; waits if the collector has it.
    TraceFirst,
    /// The same, but if the collector has it, stores.
    WithoutWaiting,
    /// As the first; but a claim is not work that the next answer to a handshake reports.
    Unreported,
    /// Shades the one reference that is overwritten, stores.
    ShadeOnly,
    /// Stores, claims the object, shades what it refers to.
    WriteFirst,
}

/// A protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Variant {
    pub(crate) flip: Flip,
    pub(crate) barrier_on: BarrierOn,
    pub(crate) roots_read: RootsRead,
    pub(crate) store: Store,
    pub(crate) buffer: Buffer,
    pub(crate) allocation: Allocation,
    pub(crate) root_drop: RootDrop,
    pub(crate) root_set: RootSet,
    pub(crate) hand_out: HandOut,
    pub(crate) upgrade: Upgrade,
    pub(crate) end: End,
    pub(crate) round: Round,
    pub(crate) decision: Decision,
    pub(crate) revive: Revive,
    pub(crate) queue: Queue,
    pub(crate) barrier_off: BarrierOff,
    pub(crate) sweep: Sweep,
    pub(crate) claim: Claim,
}

/// What mallocgc ships.
pub(crate) const SHIPPED: Variant = Variant {
    flip: Flip::Rendezvous,
    barrier_on: BarrierOn::AtFlip,
    roots_read: RootsRead::Beside,
    store: Store::ShadeFirst,
    buffer: Buffer::Own,
    allocation: Allocation::BlackUntilSweep,
    root_drop: RootDrop::AtNextFlip,
    root_set: RootSet::Shaded,
    hand_out: HandOut::Shaded,
    upgrade: Upgrade::ShadesOrWaits,
    end: End::Handshake,
    round: Round::Delivered,
    decision: Decision::AfterHandshake,
    revive: Revive::WithReferents,
    queue: Queue::IsRoot,
    barrier_off: BarrierOff::Handshake,
    sweep: Sweep::ClearsMarks,
    claim: Claim::TraceFirst,
};
