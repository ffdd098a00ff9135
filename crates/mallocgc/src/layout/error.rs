//! What can be wrong with a layout.

use core::fmt;

/// Why a layout was refused. Nothing was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LayoutError {
    /// A mask or a repeated element of no words.
    ZeroWords,
    /// A mask has bits set beyond its words.
    MaskBeyondWords {
        /// Words the mask was said to have.
        words: usize,
    },
    /// More words than the constructor takes, or than an object can have.
    TooManyWords {
        /// Words asked for; `usize::MAX` when the number itself overflows.
        words: usize,
    },
    /// The slice of bits is not as long as the number of words needs.
    WrongBitsLength {
        /// Words the mask was said to have.
        words: usize,
        /// Length of the slice.
        given: usize,
    },
    /// Elements that hold references must be a whole number of words.
    MisalignedSize {
        /// Bytes of an element.
        bytes: usize,
    },
    /// The size ends before the last reference.
    SizeTooSmall {
        /// Bytes asked for.
        bytes: usize,
        /// Bytes up to the end of the last reference.
        needed: usize,
    },
    /// Objects of this layout cannot be the elements of an array.
    NotRepeatable,
    /// A program that the format does not allow.
    ProgramMalformed {
        /// Offset of the offending instruction.
        byte: usize,
    },
    /// A program longer than [`PROGRAM_BYTES_MAX`](super::PROGRAM_BYTES_MAX).
    ProgramTooLong {
        /// Bytes of the program.
        bytes: usize,
    },
    /// Repeats nested deeper than [`PROGRAM_DEPTH_MAX`](super::PROGRAM_DEPTH_MAX).
    ProgramTooDeep,
    /// The heap knows 65,536 layouts already, or has no memory for one more.
    NoRoom,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            LayoutError::ZeroWords => write!(f, "a mask needs at least one word"),
            LayoutError::MaskBeyondWords { words } => {
                write!(f, "the mask has bits beyond its {words} words")
            }
            LayoutError::TooManyWords { words } => write!(f, "{words} words are too many"),
            LayoutError::WrongBitsLength { words, given } => {
                write!(f, "{words} words need {} masks, got {given}", words.div_ceil(64))
            }
            LayoutError::MisalignedSize { bytes } => {
                write!(f, "elements of {bytes} bytes would misalign their references")
            }
            LayoutError::SizeTooSmall { bytes, needed } => {
                write!(f, "{bytes} bytes end before the last reference, at {needed}")
            }
            LayoutError::NotRepeatable => write!(f, "this layout cannot be an array's element"),
            LayoutError::ProgramMalformed { byte } => {
                write!(f, "the program is malformed at byte {byte}")
            }
            LayoutError::ProgramTooLong { bytes } => {
                write!(f, "a program of {bytes} bytes is too long")
            }
            LayoutError::ProgramTooDeep => write!(f, "the program's repeats nest too deep"),
            LayoutError::NoRoom => f.write_str("the heap has no room for another layout"),
        }
    }
}

impl std::error::Error for LayoutError {}
