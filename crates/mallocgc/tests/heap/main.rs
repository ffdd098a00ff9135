//! The heap from outside, area by area. `docs/origin.md` tells which behaviour of
//! the origin each test stands for.

#[path = "../support/mod.rs"]
mod support;

mod allocation;
mod collection;
mod joined;
mod layouts;
mod limits;
mod large;
mod lookup;
mod reentrancy;
mod settings;
mod statistics;
mod threads;
mod tiny;
mod verification;
