//! What must happen somewhere in a search, lest the properties hold because nothing
//! ever does.

use crate::protocol::Protocol;
use crate::scope::{Fields, Present};
use crate::state::ObjectSet;
use crate::step::{Act, Decided, Deed, Found, Step, Work};
use crate::variant::Buffer;
use std::fmt;

/// Something worth having seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Milestone {
    GarbageFreed,
    WhiteShaded,
    MarkedMore,
    RootDropped,
    RootCopied,
    RootSet,
    WeakCleared,
    WeakShadedWhite,
    FinalizerQueued,
    QueuedIntoLocal,
    QueuedIntoRoot,
    ClaimTraced,
}

use Milestone::*;

impl Milestone {
    const ALL: [Milestone; 12] = [
        GarbageFreed,
        WhiteShaded,
        MarkedMore,
        RootDropped,
        RootCopied,
        RootSet,
        WeakCleared,
        WeakShadedWhite,
        FinalizerQueued,
        QueuedIntoLocal,
        QueuedIntoRoot,
        ClaimTraced,
    ];

    /// What a step is an example of: of two things at most.
    fn of(step: &Step) -> [Option<Milestone>; 2] {
        let one = match *step {
            Step::Mutator(_, Act::Shade { found: Found::White, .. }) => WhiteShaded,
            Step::Mutator(_, Act::Upgrade { found: Found::White, .. }) => WeakShadedWhite,
            Step::Mutator(_, Act::TakeQueued { .. }) => QueuedIntoLocal,
            Step::Mutator(_, Act::Trace { .. }) => ClaimTraced,
            Step::Outside(Deed::DropRoot { .. }) => RootDropped,
            Step::Outside(Deed::CopyRoot { .. }) => RootCopied,
            Step::Outside(Deed::SetRoot { .. }) => RootSet,
            Step::Outside(Deed::RootQueued { .. }) => QueuedIntoRoot,
            Step::Collector(Work::MarkMore) => MarkedMore,
            Step::Collector(Work::Sweep { .. }) if frees_garbage(step) => GarbageFreed,
            Step::Collector(Work::Decide(Decided { cleared, queued })) => {
                return [cleared.map(|_| WeakCleared), queued.map(|_| FinalizerQueued)];
            }
            _ => return [None; 2],
        };
        [Some(one), None]
    }

    /// Whether a search must come by it.
    fn is_expected(self, Protocol { variant, scope }: &Protocol) -> bool {
        match self {
            GarbageFreed | WhiteShaded | RootDropped => true,
            // Without buffers nothing is grey when the stack is empty; what may
            // come then is brought by a weak handle.
            MarkedMore => variant.buffer == Buffer::Own || scope.weak == Present::One,
            RootCopied | RootSet => scope.roots > 1,
            WeakCleared | WeakShadedWhite => scope.weak == Present::One,
            FinalizerQueued | QueuedIntoLocal | QueuedIntoRoot => scope.finalizer == Present::One,
            ClaimTraced => scope.fields == Fields::Claimed,
        }
    }
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GarbageFreed => "garbage was freed",
            WhiteShaded => "a store shaded a white object",
            MarkedMore => "a handshake brought more to mark",
            RootDropped => "a root was dropped",
            RootCopied => "a root was copied",
            RootSet => "a root was set from outside",
            WeakCleared => "a weak handle was cleared",
            WeakShadedWhite => "a weak handle brought a white object back",
            FinalizerQueued => "a finalizer was queued",
            QueuedIntoLocal => "a finalizer's object was handed out",
            QueuedIntoRoot => "a finalizer's object was rooted",
            ClaimTraced => "a mutator traced what it was to write",
        })
    }
}

/// Whether a step is a sweep that frees something.
pub(crate) fn frees_garbage(step: &Step) -> bool {
    matches!(*step, Step::Collector(Work::Sweep { freed }) if freed != ObjectSet::default())
}

/// How often each was seen.
#[derive(Default, Debug)]
pub(crate) struct Milestones([u64; Milestone::ALL.len()]);

impl Milestones {
    pub(crate) fn see(&mut self, step: &Step) {
        for milestone in Milestone::of(step).into_iter().flatten() {
            self.0[milestone as usize] += 1;
        }
    }

    /// Those that were seen, and how often.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (Milestone, u64)> {
        Milestone::ALL.into_iter().zip(self.0).filter(|&(_, times)| times != 0)
    }

    /// Those that a search should have seen and has not.
    pub(crate) fn missing(&self, protocol: &Protocol) -> Vec<Milestone> {
        let unseen = Milestone::ALL.into_iter().zip(self.0).filter(|&(_, times)| times == 0);
        unseen.map(|(milestone, _)| milestone).filter(|one| one.is_expected(protocol)).collect()
    }
}
