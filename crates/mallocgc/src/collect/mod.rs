//! Who is alive: the cycle and its phases.

pub mod pacer;
pub(crate) mod work;
pub(crate) mod kernel;
pub(crate) mod mark_word;
pub(crate) mod mark;
pub(crate) mod finalize;
pub mod verify;
pub mod cycle;
pub mod concurrent;
