//! Go's garbage-collected heap as a library.
//!
//! The folders are layers; a module uses only those named above it.

pub mod base;
pub mod collect;
pub mod heap;
pub mod layout;
pub mod observe;
pub mod os;
pub mod raw;
pub mod world;
