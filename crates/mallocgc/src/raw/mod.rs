//! The interface for authors of runtimes.

pub mod config;
pub mod layout;
pub mod conservative;
pub mod root;
pub mod mutator;
pub mod heap;
mod log;
mod statistics;
pub(crate) mod threads;
pub(crate) mod limits;
pub mod external;
pub mod pressure;
pub mod settings;
mod events;
pub mod walk;
mod profile;
pub(crate) mod action;
mod runner;
mod drop_in_place;
pub mod barrier;
pub mod window;
pub mod concurrent;
mod pacing;
pub mod finalizer;
mod owned_finalizer;
pub mod dynamic;
pub mod cleanup;
pub mod weak;
pub mod ephemeron;

pub use crate::collect::pacer::Pace;
pub use crate::collect::verify::Fault;
pub use crate::heap::error::AllocError;
pub use crate::heap::special::{QueueCounts, SpecialCounts};
pub use crate::layout::{LayoutError, TypeLayout};
pub use crate::world::roots::{RangeKind, RootVisitor};
pub use cleanup::{Cleanup, CleanupError};
pub use concurrent::Step;
pub use config::Config;
pub use conservative::{
    AmbiguousMarker, CellInfo, CellWords, ConservativeClient, Pause, QuickClass,
};
pub use dynamic::{DynamicFinalizer, FinalizerArgument, TypeDescriptor, TypeKind};
pub use ephemeron::{Ephemeron, EphemeronError};
pub use external::External;
pub use finalizer::{FinalizerError, FinalizerFn, Placement};
pub use heap::{Force, GcError, Heap, HeapError, ObjectInfo};
pub use layout::Layout;
pub use mutator::{AllocClass, AllocFlags, Mutator};
pub use pressure::{LimitKind, Pressure, PressureHookId};
pub use root::Root;
pub use settings::ClearHookId;
pub use walk::{Walked, WalkedObject};
pub use weak::{Weak, WeakError};
