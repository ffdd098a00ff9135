//! Seeing inside: statistics, trace lines, histograms, sampled profile, events.
//!
//! Everything here is told facts and answers questions; nothing here decides.
//! The pieces know nothing of one another beyond plain values, and nothing of
//! the heap: the layers below fill in a [`CycleRecord`] or a [`MemStats`], the
//! interface layer owns the [`PauseRing`] and the histograms.
//!
//! What may run while the world is stopped is said at each piece; the rule is
//! that recording neither allocates nor takes a lock a mutator could hold.
//!
//! Order of the files, each using only those above it: `histogram`,
//! `cycle_record`, `gctrace`, `stats`, `sample`, `profile`, `symbol`, `pprof`,
//! `events`.

#![forbid(unsafe_code)]

pub mod histogram;
pub mod cycle_record;
pub mod gctrace;
pub mod stats;
pub mod sample;
pub mod profile;
mod symbol;
pub mod pprof;
pub mod events;

pub use cycle_record::{BesideRecord, CycleRecord, Pause, PauseRing};
pub use events::{Event, EventPrinter, EventSink, Imbalance, Interest, Listener, LiveObjects};
pub use gctrace::{SizeClassSpans, SpanStatistics, TraceLine};
pub use histogram::{Histogram, HistogramSnapshot};
pub use profile::{
    BucketId, Profile, ProfileConfig, ProfileRecord, ProfileSnapshot, ProfileValues,
};
pub use sample::unskew;
pub use stats::{BySize, Invariant, MemStats, SizeStats, StatsError};
pub use symbol::function_name;
