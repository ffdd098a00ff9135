//! What can happen in one step, and how it reads.

use crate::state::{Object, ObjectSet, Slot};
use std::fmt;

/// A step. Between two steps everybody else may take any number of theirs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// A mutator, by its number.
    Mutator(usize, Act),
    /// A thread that is no mutator, or not inside.
    Outside(Deed),
    Collector(Work),
}

/// What a mutator does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    Enter,
    Leave,
    Read {
        slot: Slot,
        object: Object,
    },
    Allocate {
        object: Object,
        field: Option<Object>,
    },
    /// The first step of a store: looks whether the barrier is on and reads the old value.
    BeginStore {
        slot: Slot,
        barrier: Barrier,
    },
    /// A store in one step: without a barrier, or into an object that is its own.
    Store {
        slot: Slot,
        new: Option<Object>,
    },
    Shade {
        object: Object,
        found: Found,
    },
    Write {
        slot: Slot,
        new: Option<Object>,
    },
    /// Reads a slot again, to shade what is there.
    FindNull {
        slot: Slot,
    },
    /// Claims an object, to write to it.
    Claim {
        object: Object,
    },
    /// Shades what a claimed object refers to; the claim ends.
    Trace {
        object: Object,
    },
    MakeWeak {
        object: Object,
    },
    /// Reads the weak handle; takes the object at once, or will shade it first.
    ReadWeak {
        object: Object,
        barrier: Barrier,
    },
    /// Shades the object of the weak handle and takes it.
    Upgrade {
        object: Object,
        found: Found,
    },
    SetFinalizer {
        object: Object,
    },
    TakeQueued {
        object: Object,
    },
    Acknowledge,
}

/// What the barrier has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Barrier {
    /// Nothing: it is off.
    Off,
    /// Nothing: it is on, and there is nothing to shade, or no need to.
    Nothing,
    /// To shade this.
    Shade(Object),
    /// To shade, after the store, whatever is there then.
    Later,
}

/// What shading found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// The object was white and is grey now.
    White,
    Marked,
    /// The place of no object.
    Free,
}

/// What is done from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deed {
    DropRoot {
        root: u8,
    },
    CopyRoot {
        from: u8,
        to: u8,
    },
    SetRoot {
        root: u8,
        from: u8,
    },
    /// A queued object is taken by a thread outside.
    TakeQueued {
        object: Object,
    },
    /// It is put into a root.
    RootQueued {
        root: u8,
        object: Object,
    },
}

/// What the collector does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Asks for the flip.
    AskFlip,
    Flip,
    ReadRoot {
        root: u8,
        object: Option<Object>,
    },
    ReadQueue {
        object: Option<Object>,
    },
    /// Reads an object's slot and shades what is in it.
    Scan {
        object: Object,
    },
    /// Claims an object to scan it.
    BeginScan {
        object: Object,
    },
    /// Its stack is empty: asks for the buffers.
    AskBuffers,
    /// Everybody has answered, and something came.
    MarkMore,
    /// Everybody has answered, and nothing came.
    MarkingComplete,
    Decide(Decided),
    Sweep {
        freed: ObjectSet,
    },
}

/// What a decision found dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Decided {
    /// The weak handle named it.
    pub(crate) cleared: Option<Object>,
    /// Its finalizer is due.
    pub(crate) queued: Option<Object>,
}

// --- words -------------------------------------------------------------------

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{}", self.index() + 1)
    }
}

impl fmt::Display for ObjectSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, object) in self.iter().enumerate() {
            let before = if place == 0 { "" } else { ", " };
            write!(f, "{before}{object}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Root(root) => write!(f, "root {}", root + 1),
            Slot::Field(object) => write!(f, "{object}'s slot"),
        }
    }
}

/// A reference, or the word for none.
struct OrNull(Option<Object>);

impl fmt::Display for OrNull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(object) => object.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// A mutator's name.
pub(crate) fn mutator_name(index: usize) -> char {
    ["A", "B"][index].chars().next().expect("names are not empty")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Mutator(index, act) => write!(f, "{} {act}", mutator_name(*index)),
            Step::Outside(deed) => write!(f, "outside {deed}"),
            Step::Collector(work) => write!(f, "collector {work}"),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Act::Enter => f.write_str("enters"),
            Act::Leave => f.write_str("leaves, dropping its locals"),
            Act::Read { slot, object } => write!(f, "reads {object} from {slot}"),
            Act::Allocate { object, field: None } => write!(f, "allocates {object}"),
            Act::Allocate { object, field: Some(field) } => {
                write!(f, "allocates {object}, referring to {field}")
            }
            Act::BeginStore { slot, barrier } => {
                write!(f, "begins to store into {slot}: {barrier}")
            }
            Act::Store { slot, new } => write!(f, "stores {} into {slot}", OrNull(new)),
            Act::Shade { object, found } => write!(f, "shades {object}{found}"),
            Act::Write { slot, new } => write!(f, "writes {} into {slot}", OrNull(new)),
            Act::FindNull { slot } => write!(f, "finds nothing to shade in {slot}"),
            Act::Claim { object } => write!(f, "claims {object} for a store"),
            Act::Trace { object } => write!(f, "shades what {object} refers to; {object} is black"),
            Act::MakeWeak { object } => write!(f, "makes a weak handle of {object}"),
            Act::ReadWeak { object, barrier } => {
                write!(f, "reads {object} from the weak handle: {barrier}")
            }
            Act::Upgrade { object, found } => write!(f, "shades {object}{found} and takes it"),
            Act::SetFinalizer { object } => write!(f, "sets a finalizer on {object}"),
            Act::TakeQueued { object } => write!(f, "takes {object} off the finalizer queue"),
            Act::Acknowledge => f.write_str("acknowledges"),
        }
    }
}

impl fmt::Display for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Barrier::Off => f.write_str("no barrier"),
            Barrier::Nothing => f.write_str("nothing to shade"),
            Barrier::Shade(object) => write!(f, "is to shade {object}"),
            Barrier::Later => f.write_str("is to shade afterwards"),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Found::White => "",
            Found::Marked => ", which is marked already,",
            Found::Free => ", which is no object,",
        })
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Deed::DropRoot { root } => write!(f, "drops {}", Slot::Root(root)),
            Deed::CopyRoot { from, to } => {
                write!(f, "copies {} into {}", Slot::Root(from), Slot::Root(to))
            }
            Deed::SetRoot { root, from } => {
                write!(f, "sets {} to what is in {}", Slot::Root(root), Slot::Root(from))
            }
            Deed::TakeQueued { object } => write!(f, "takes {object} off the finalizer queue"),
            Deed::RootQueued { root, object } => {
                write!(f, "puts {object}, whose finalizer is due, into {}", Slot::Root(root))
            }
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Work::AskFlip => f.write_str("asks for the flip"),
            Work::Flip => f.write_str("flips: a cycle begins"),
            Work::ReadRoot { root, object } => {
                write!(f, "reads {}: {}", Slot::Root(root), OrNull(object))
            }
            Work::ReadQueue { object } => {
                write!(f, "reads the finalizer queue: {}", OrNull(object))
            }
            Work::Scan { object } => write!(f, "scans {object}"),
            Work::BeginScan { object } => write!(f, "claims {object} to scan it"),
            Work::AskBuffers => f.write_str("has nothing to scan and asks for the buffers"),
            Work::MarkMore => f.write_str("has all answers, and more to mark"),
            Work::MarkingComplete => f.write_str("finds that marking is complete"),
            Work::Decide(Decided { cleared, queued }) => {
                f.write_str("decides")?;
                if let Some(object) = cleared {
                    write!(f, "; clears the weak handle on {object}")?;
                }
                if let Some(object) = queued {
                    write!(f, "; queues the finalizer of {object}")?;
                }
                Ok(())
            }
            Work::Sweep { freed } if freed == ObjectSet::default() => {
                f.write_str("sweeps and frees nothing")
            }
            Work::Sweep { freed } => write!(f, "sweeps and frees {freed}"),
        }
    }
}
