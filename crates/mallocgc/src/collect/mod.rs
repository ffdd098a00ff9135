//! Who is alive: the cycle and its phases.

pub mod cycle;
pub(crate) mod mark;
pub mod pacer;
pub(crate) mod work;
