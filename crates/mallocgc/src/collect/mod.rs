//! Who is alive: the cycle and its phases.

pub mod pacer;
pub(crate) mod pending;
pub(crate) mod watched_keys;
pub(crate) mod work;
pub(crate) mod mail;
pub(crate) mod kernel;
pub(crate) mod mark_word;
pub(crate) mod mark;
mod drain_ambiguous;
pub(crate) mod ephemeron;
pub mod ambiguous;
pub(crate) mod finalize;
pub mod verify;
pub mod cycle;
pub mod concurrent;
