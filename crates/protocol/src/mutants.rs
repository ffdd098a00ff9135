//! Protocols with one mistake each, to see that the checker finds it, and with one
//! rule exchanged for another that is as good.

use crate::scope::{BOTH, CLAIMED, EVERYTHING, FINALIZER, PLAIN, Present, ROOTED, Scope, WEAK};
use crate::variant::{
    Allocation, BarrierOff, BarrierOn, Buffer, Claim, Decision, End, Flip, HandOut, Queue, Revive,
    RootDrop, RootSet, RootsRead, Round, SHIPPED, Store, Sweep, Upgrade, Variant,
};

/// A protocol that is not the shipped one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// How it differs.
    pub(crate) says: &'static str,
    pub(crate) variant: Variant,
    /// The world that shows it.
    pub(crate) scope: Scope,
}

/// Each of these must be caught.
pub(crate) const MUTANTS: [Mutant; 28] = [
    Mutant {
        name: "ragged-flip",
        says: "mutators learn of the cycle one by one, in one handshake",
        variant: Variant { flip: Flip::Ragged, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "late-barrier",
        says: "the barrier goes on when the roots have been read",
        variant: Variant { barrier_on: BarrierOn::AfterRoots, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "no-barrier",
        says: "stores shade nothing",
        variant: Variant { store: Store::Unshaded, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "shade-last",
        says: "the old value is read, the new one stored, and then the old one shaded",
        variant: Variant { store: Store::ShadeLast, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "read-after-store",
        says: "a store comes first, and what the barrier then reads and shades is the new value",
        variant: Variant { store: Store::ReadAfterwards, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "lost-buffer",
        says: "the handshake throws the buffers away",
        variant: Variant { buffer: Buffer::Lost, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "allocate-white",
        says: "new objects are white",
        variant: Variant { allocation: Allocation::White, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "white-before-sweep",
        says: "new objects are white as soon as the barrier is off",
        variant: Variant { allocation: Allocation::BlackWithBarrier, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "root-drop",
        says: "dropping a root empties its slot and shades nothing",
        variant: Variant { root_drop: RootDrop::Unshaded, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "root-set",
        says: "changing a root from outside shades nothing",
        variant: Variant { root_set: RootSet::Unshaded, ..SHIPPED },
        scope: ROOTED,
    },
    Mutant {
        name: "root-of-queued",
        says: "an object goes from the finalizer queue into a new root unshaded",
        variant: Variant { hand_out: HandOut::UnshadedIntoRoot, ..SHIPPED },
        scope: FINALIZER,
    },
    Mutant {
        name: "local-of-queued",
        says: "an object goes from the finalizer queue into a local unshaded",
        variant: Variant { hand_out: HandOut::UnshadedIntoLocal, ..SHIPPED },
        scope: FINALIZER,
    },
    Mutant {
        name: "carried-over-flip",
        says: "an object is taken off the queue outside, and rooted a while later",
        variant: Variant { hand_out: HandOut::CarriedOutside, ..SHIPPED },
        scope: FINALIZER,
    },
    Mutant {
        name: "queue-no-root",
        says: "objects in the finalizer queue are not read as roots",
        variant: Variant { queue: Queue::IsNoRoot, ..SHIPPED },
        scope: FINALIZER,
    },
    Mutant {
        name: "revive-alone",
        says: "an object with a finalizer due is marked, what it refers to is not",
        variant: Variant { revive: Revive::ObjectOnly, ..SHIPPED },
        scope: FINALIZER,
    },
    Mutant {
        name: "weak-unshaded",
        says: "reading a weak handle shades nothing",
        variant: Variant { upgrade: Upgrade::Unshaded, ..SHIPPED },
        scope: WEAK,
    },
    Mutant {
        name: "weak-no-wait",
        says: "reading a weak handle shades, and never waits for the end of marking",
        variant: Variant { upgrade: Upgrade::Shades, ..SHIPPED },
        scope: WEAK,
    },
    Mutant {
        name: "weak-of-revived",
        says: "reading a weak handle takes what is marked only for a finalizer",
        variant: Variant { upgrade: Upgrade::TakesRevived, ..SHIPPED },
        scope: EVERYTHING,
    },
    Mutant {
        name: "no-handshake",
        says: "marking ends when the collector's stack is empty",
        variant: Variant { end: End::AtOnce, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "one-round",
        says: "marking ends after one handshake, whatever it brought",
        variant: Variant { end: End::OneRound, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "early-decision",
        says: "weak handles and finalizers are decided before the handshake",
        variant: Variant { decision: Decision::BeforeHandshake, ..SHIPPED },
        scope: WEAK,
    },
    Mutant {
        name: "stale-barrier",
        says: "the barrier goes off without a handshake, and buffers are reset by the flip",
        variant: Variant { barrier_off: BarrierOff::AtOnce, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "stale-marks",
        says: "marks stay when the dead have been freed",
        variant: Variant { sweep: Sweep::KeepsMarks, ..SHIPPED },
        scope: PLAIN,
    },
    Mutant {
        name: "no-claim",
        says: "a store into a claimed kind of object shades the old value, and claims nothing",
        variant: Variant { claim: Claim::ShadeOnly, ..SHIPPED },
        scope: CLAIMED,
    },
    Mutant {
        name: "no-wait-for-claim",
        says: "a store goes on although the collector has claimed the object",
        variant: Variant { claim: Claim::WithoutWaiting, ..SHIPPED },
        scope: CLAIMED,
    },
    Mutant {
        name: "write-before-claim",
        says: "a store comes first, and then the object is claimed and what it refers to shaded",
        variant: Variant { claim: Claim::WriteFirst, ..SHIPPED },
        scope: CLAIMED,
    },
    Mutant {
        name: "claim-unreported",
        says: "an object claimed by a mutator is not work that a handshake reports",
        variant: Variant { claim: Claim::Unreported, ..SHIPPED },
        scope: Scope { weak: Present::No, ..CLAIMED },
    },
    Mutant {
        name: "round-by-colour",
        says: "a round counts only what is still grey when the collector looks",
        variant: Variant { round: Round::Unscanned, ..SHIPPED },
        scope: CLAIMED,
    },
];

const TWO_STOPS: Variant = Variant {
    end: End::Stop,
    roots_read: RootsRead::InFlip,
    root_drop: RootDrop::Unshaded,
    root_set: RootSet::Unshaded,
    hand_out: HandOut::Unshaded,
    upgrade: Upgrade::Shades,
    ..SHIPPED
};

/// Each of these holds, too.
pub(crate) const ALTERNATIVES: [Mutant; 6] = [
    Mutant {
        name: "stop-at-end",
        says: "the world is stopped from the last buffers to the sweep",
        variant: Variant { end: End::Stop, ..SHIPPED },
        scope: ROOTED,
    },
    Mutant {
        name: "roots-in-flip",
        says: "roots and queue are read in the stop of the flip, and change without a barrier",
        variant: Variant {
            roots_read: RootsRead::InFlip,
            root_drop: RootDrop::Unshaded,
            root_set: RootSet::Unshaded,
            hand_out: HandOut::Unshaded,
            ..SHIPPED
        },
        scope: ROOTED,
    },
    Mutant {
        name: "two-stops",
        says: "both of these, and weak handles shade at any time: what the library does",
        variant: TWO_STOPS,
        scope: BOTH,
    },
    Mutant {
        name: "two-stops-claimed",
        says: "the same with claimed objects, as the cells of the safe interface are",
        variant: TWO_STOPS,
        scope: CLAIMED,
    },
    Mutant {
        name: "root-drop-shaded",
        says: "dropping a root shades, and the slot is free at once",
        variant: Variant { root_drop: RootDrop::Shaded, ..SHIPPED },
        scope: ROOTED,
    },
    Mutant {
        name: "no-buffers",
        says: "mutators put what they shade on the collector's stack",
        variant: Variant { buffer: Buffer::None, ..SHIPPED },
        scope: BOTH,
    },
];
