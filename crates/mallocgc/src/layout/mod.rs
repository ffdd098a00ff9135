//! Where an object's references are.
//!
//! A [`TypeLayout`] is what a user builds: a mask, a repeated mask, a program,
//! a trace function. It is kept in a normal form, so that layouts with the same
//! references compare equal however they were written, and share spans. An
//! [`Encoding`] is the same in the shape the collector reads: `Copy`, with its
//! longer bits in memory that the heap owns.
//!
//! Protection: values only; nothing here is shared while it changes.
//!
//! Not here: which layouts a heap knows and their ids (`heap::layouts`), reading
//! an object by its layout (`collect`).

#![forbid(unsafe_code)]

mod error;
mod trace;
mod bits;
mod program;
mod encoding;
mod type_layout;

pub use encoding::{Calls, Chunks, Encoding, PointerWords, UNROLLED_WORDS_MAX};
pub use error::LayoutError;
pub use program::{PROGRAM_BYTES_MAX, PROGRAM_DEPTH_MAX, Program, ProgramBuilder};
pub(crate) use trace::{Beside, Reader};
pub use trace::{TraceFn, Tracer};
pub use type_layout::{FIXED_WORDS_MAX, TypeLayout};

/// Most words any layout may describe: more than an address space holds.
pub const WORDS_MAX: usize = 1 << 45;

/// A layout's number in its heap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct LayoutId(pub u32);

impl LayoutId {
    /// The layout of pointer-free objects, the same in every heap.
    pub const NOSCAN: LayoutId = LayoutId(0);

    /// The layout's number as an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
