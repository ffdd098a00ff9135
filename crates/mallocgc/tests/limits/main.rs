//! Limits and giving memory back: what is refused, what is kept to, what counts, and
//! who is told. `docs/design/limits.md` says why.

#[path = "../support/mod.rs"]
mod support;

mod cgroup;
mod external;
mod giving_back;
mod heap_limit;
mod memory_limit;
mod pressure;
mod storm;

use mallocgc::raw::{AllocError, AllocFlags, Layout, Mutator};

pub(crate) const MIB: usize = 1 << 20;

/// Pointer-free bytes that nobody needs to be zero.
pub(crate) fn block(m: &Mutator, bytes: usize, flags: AllocFlags) -> Result<(), AllocError> {
    m.mallocgc(bytes, Layout::NOSCAN, flags | AllocFlags::NO_ZERO).map(drop)
}

/// As [`block`], kept until the roots are cut.
pub(crate) fn kept(m: &Mutator, bytes: usize, flags: AllocFlags) -> Result<(), AllocError> {
    let object = m.mallocgc(bytes, Layout::NOSCAN, flags | AllocFlags::NO_ZERO)?;
    m.push_root(object);
    Ok(())
}
