//! Mutators, how they are stopped, and roots.

pub mod callback;
pub mod mutator;
pub mod roots;
pub mod stop;
pub mod workers;
