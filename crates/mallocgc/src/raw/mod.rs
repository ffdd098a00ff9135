//! The interface for authors of runtimes.

pub mod config;
pub mod layout;
pub mod root;
pub mod mutator;
pub mod heap;
mod statistics;
pub(crate) mod threads;
pub mod settings;
mod events;

pub use crate::collect::pacer::Pace;
pub use crate::heap::error::AllocError;
pub use crate::layout::{LayoutError, TypeLayout};
pub use crate::world::roots::{RangeKind, RootVisitor};
pub use config::Config;
pub use heap::{Force, GcError, Heap, HeapError, ObjectInfo};
pub use layout::Layout;
pub use mutator::{AllocClass, AllocFlags, Mutator};
pub use root::Root;
pub use settings::ClearHookId;
