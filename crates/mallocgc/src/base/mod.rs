//! Words the whole crate shares: addresses, pages, size classes, bits, locks, last
//! words.

pub mod address;
pub mod fatal;
pub mod random;
pub mod size_class;
pub mod sync;
pub mod once;
pub mod claim;
pub mod stripes;

pub use address::{Address, PAGE_SHIFT, PAGE_SIZE, PageId, WORD_SIZE};
pub use size_class::{MAX_SMALL_SIZE, SIZE_CLASSES, SizeClass, TINY_SIZE, round_up_size};
