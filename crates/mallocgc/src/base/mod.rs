//! Words the whole crate shares: addresses, pages, bits, locks, last words.

pub mod address;
pub mod fatal;
pub mod sync;

pub use address::{Address, PAGE_SHIFT, PAGE_SIZE, PageId, WORD_SIZE};
