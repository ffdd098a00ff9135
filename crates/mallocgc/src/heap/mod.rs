//! Memory and the identity of objects: what is where, and what is free.
//!
//! Who is alive is decided above, in `collect`.

pub mod cache;
pub mod central;
pub mod error;
pub mod large;
pub mod layouts;
pub mod meta;
pub mod object;
pub mod pages;
pub mod space;
pub mod span;
pub mod span_class;
pub mod sweep;
