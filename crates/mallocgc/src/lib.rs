//! Go's garbage-collected heap as a library.
//!
//! The folders are layers; a module uses only those named above it.

pub mod base;
pub mod layout;
pub mod os;
pub mod heap;
pub mod world;
pub mod collect;
pub mod observe;
pub mod raw;
