//! How large a world is explored, and with what in it.
//!
//! The number of states grows tenfold with each thing added, so there are several
//! worlds, each with what another lacks.

use crate::state::{MUTATORS, OBJECTS, ROOTS};

/// How references are stored in objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fields {
    /// One-word atomic slots.
    Atomic,
    /// Plain memory, guarded by a claim on the object.
    Claimed,
}

/// Whether there is something of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Present {
    No,
    One,
}

/// How a mutator inside gets at references.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reads {
    /// It reads whatever it can, as soon as it can. Nothing is lost by that: who
    /// holds more can do more, reading changes nothing else, and what is held is in
    /// use, of which more can go wrong. One step instead of many.
    Greedy,
    /// Each read is a step. To check the other one by.
    #[cfg_attr(not(test), expect(dead_code, reason = "a second opinion, for tests"))]
    OneByOne,
}

/// A world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scope {
    pub(crate) name: &'static str,
    pub(crate) mutators: usize,
    pub(crate) objects: usize,
    pub(crate) roots: usize,
    pub(crate) fields: Fields,
    pub(crate) weak: Present,
    pub(crate) finalizer: Present,
    pub(crate) reads: Reads,
}

impl Scope {
    /// The root slots there are.
    pub(crate) fn root_slots(&self) -> core::ops::Range<u8> {
        0..self.roots as u8
    }

    /// The same world in every size up to its own, the smallest first.
    pub(crate) fn sizes(self) -> impl Iterator<Item = Scope> {
        let sizes = [(1, 1), (1, 2), (2, 2), (1, 3), (2, 3)];
        sizes
            .into_iter()
            .filter(move |&(mutators, objects)| {
                mutators <= self.mutators && objects <= self.objects
            })
            .map(move |(mutators, objects)| Scope { mutators, objects, ..self })
    }
}

/// Nothing but objects.
pub(crate) const PLAIN: Scope = Scope {
    name: "plain",
    mutators: 2,
    objects: 3,
    roots: 1,
    fields: Fields::Atomic,
    weak: Present::No,
    finalizer: Present::No,
    reads: Reads::Greedy,
};

/// A weak handle.
pub(crate) const WEAK: Scope = Scope { name: "weak", weak: Present::One, ..PLAIN };

/// A finalizer.
pub(crate) const FINALIZER: Scope = Scope { name: "finalizer", finalizer: Present::One, ..PLAIN };

/// Weak handle and finalizer, one object less.
pub(crate) const BOTH: Scope =
    Scope { name: "both", objects: 2, weak: Present::One, finalizer: Present::One, ..PLAIN };

/// Two roots, so that roots are copied, and changed from outside.
pub(crate) const ROOTED: Scope = Scope { name: "rooted", roots: 2, ..BOTH };

/// Objects that are not atomic.
pub(crate) const CLAIMED: Scope =
    Scope { name: "claimed", fields: Fields::Claimed, weak: Present::One, ..PLAIN };

/// All of it at once. Takes minutes and two gigabytes; the others do not.
pub(crate) const EVERYTHING: Scope = Scope { name: "everything", objects: 3, ..BOTH };

/// The worlds in which a protocol is checked.
pub(crate) const CHECKED: [Scope; 5] = [BOTH, ROOTED, CLAIMED, WEAK, FINALIZER];

const _: () = {
    assert!(PLAIN.mutators <= MUTATORS && PLAIN.objects <= OBJECTS);
    assert!(ROOTED.roots <= ROOTS);
};
