//! Mutators, how they are stopped, and roots.

pub mod callback;
pub(crate) mod gate;
pub mod roots;
pub(crate) mod shade;
pub mod mutator;
pub mod stop;
pub mod workers;
