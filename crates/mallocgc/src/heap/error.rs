//! Why an allocation failed.

use crate::heap::meta::MetaError;
use crate::os::OsError;

/// Why an allocation failed. The heap is as it was and stays usable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AllocError {
    /// No heap of this configuration could hold the object; nothing a
    /// collection does would help.
    TooLarge {
        /// Bytes asked for; `usize::MAX` when the product of an array overflowed.
        bytes: usize,
    },
    /// The heap limit would be exceeded. A collection may help.
    LimitReached {
        /// Bytes asked for; of a small object those of the span that it needs.
        bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The operating system, or the heap's address range, has no more memory.
    /// A collection may help.
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
        /// The call that failed; `None` when the address range is used up.
        cause: Option<OsError>,
    },
    /// The thread is inside a callback that must not allocate: a trace
    /// function, a root callback, an event listener or a clear hook.
    Reentrant,
    /// The layout belongs to another heap.
    WrongHeap,
    /// The alignment is not a power of two, or above 4096.
    BadAlign {
        /// The alignment asked for.
        align: usize,
    },
    /// Unzeroed memory was asked for with a layout that has references.
    UnzeroedReferences,
    /// An array was asked for with the layout of a single object, whose
    /// references are not those of the elements behind the first. The layout
    /// for it is `TypeLayout::array_of`.
    NotRepeating,
    /// A class was asked for objects of zero bytes, which have none: they share
    /// one address, that `mallocgc` answers with.
    ZeroSize,
}

impl AllocError {
    pub(crate) fn from_os(bytes: usize, cause: OsError) -> AllocError {
        AllocError::OutOfMemory { bytes, cause: Some(cause) }
    }

    pub(crate) fn from_meta(bytes: usize, error: MetaError) -> AllocError {
        let cause = match error {
            MetaError::OutOfMemory(cause) => Some(cause),
            _ => None,
        };
        AllocError::OutOfMemory { bytes, cause }
    }

    /// Whether freeing memory may make the same request succeed.
    pub fn may_succeed_later(self) -> bool {
        matches!(self, AllocError::LimitReached { .. } | AllocError::OutOfMemory { .. })
    }
}

impl core::fmt::Display for AllocError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            AllocError::TooLarge { bytes } => write!(f, "an object of {bytes} bytes is too large"),
            AllocError::LimitReached { bytes, limit_bytes } => {
                write!(f, "{bytes} more bytes would exceed the heap limit of {limit_bytes}")
            }
            AllocError::OutOfMemory { bytes, cause: Some(cause) } => {
                write!(f, "no memory for {bytes} bytes: {cause}")
            }
            AllocError::OutOfMemory { bytes, cause: None } => {
                write!(f, "no address range for {bytes} bytes")
            }
            AllocError::Reentrant => f.write_str("allocation inside a callback of the heap"),
            AllocError::WrongHeap => f.write_str("the layout belongs to another heap"),
            AllocError::BadAlign { align } => write!(f, "alignment {align} is not supported"),
            AllocError::UnzeroedReferences => f.write_str("objects with references must be zeroed"),
            AllocError::NotRepeating => {
                f.write_str("the layout of an array with references must repeat")
            }
            AllocError::ZeroSize => f.write_str("objects of zero bytes have no class"),
        }
    }
}

impl std::error::Error for AllocError {}
