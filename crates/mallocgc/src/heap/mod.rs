//! Memory and the identity of objects: what is where, and what is free.
//!
//! Who is alive is decided above, in `collect`.

pub mod meta;
pub mod pages;
pub mod scavenge;
pub mod error;
pub(crate) mod limits;
pub(crate) mod open_chunk;
pub mod span;
pub(crate) mod page_entry;
pub mod span_class;
pub(crate) mod object_claim;
pub mod layouts;
pub mod central;
mod first_touch;
pub mod ambiguous;
pub(crate) mod sweep_gate;
pub mod space;
pub(crate) mod newborn;
pub(crate) mod release;
pub mod join;
pub mod sweep;
pub mod cache;
pub mod large;
pub mod object;
pub(crate) mod ephemeron;
pub mod special;
