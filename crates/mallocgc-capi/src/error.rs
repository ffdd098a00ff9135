//! Codes, their texts, and the thread's last one.

use mallocgc::layout::LayoutError;
use mallocgc::raw::{
    AllocError, CleanupError, EphemeronError, FinalizerError, GcError, HeapError, WeakError,
};
use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a function answers: 0, or why it did nothing.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum mallocgc_error {
    /// Done.
    None = 0,
    /// A pointer that must not be null is, or a number is out of range.
    BadArgument = 1,
    /// The system or the heap's address range has no more memory. A collection
    /// may help.
    OutOfMemory = 2,
    /// The heap's limit would be exceeded. A collection may help.
    LimitReached = 3,
    /// No heap of these settings could hold the object, or the product of an
    /// array's size and length overflows.
    TooLarge = 4,
    /// A layout, site, weak handle or cleanup of another heap.
    WrongHeap = 5,
    /// Called inside a callback in which the heap must not be entered: a trace
    /// function, a root callback, a clear hook, a listener, the log.
    Reentrant = 6,
    /// The thread is a mutator of this heap already.
    AlreadyAttached = 7,
    /// The address is in no object of this heap.
    NotAllocated = 8,
    /// The address is not an object's first byte.
    NotAtBeginning = 9,
    /// The object has a finalizer that was not set by this interface.
    AlreadySet = 10,
    /// A thread did not come to a boundary in time; the log names it.
    StopTimedOut = 11,
    /// The layout says something impossible.
    BadLayout = 12,
    /// There is no number left for one more layout: a heap has 65534.
    NoRoom = 13,
    /// The mutator is in mallocgc_blocking or runs finalizers or cleanups, which are
    /// given a mutator of their own.
    Busy = 14,
    /// The mutator belongs to another thread.
    WrongThread = 15,
    /// The key of the ephemeron is gone.
    Cleared = 16,
    /// The cleanup's argument would keep its object alive for ever.
    KeepsItself = 17,
    /// The system has no thread to give.
    NoThread = 18,
    /// There is nothing of this number or address.
    NotFound = 19,
    /// The program's write function failed.
    Io = 20,
    /// An object with references cannot be left unzeroed.
    UnzeroedReferences = 21,
    /// An array of a layout that does not repeat; mallocgc_layout_array makes one that does.
    NotRepeating = 22,
    /// An alignment that is no power of two or above 4096.
    BadAlignment = 23,
    /// mallocgc_verify found a fault; the log says which.
    Corrupt = 24,
    /// Not on this processor.
    Unsupported = 25,
    /// The library failed, which is a mistake in it; the message is on standard error.
    Panic = 26,
    /// A handle that was freed, or is one of another kind.
    BadHandle = 27,
}

use mallocgc_error as Code;

impl Code {
    fn text(self) -> &'static CStr {
        match self {
            Code::None => c"no error",
            Code::BadArgument => c"a null pointer or a number out of range",
            Code::OutOfMemory => c"out of memory",
            Code::LimitReached => c"the heap limit is reached",
            Code::TooLarge => c"the object is too large",
            Code::WrongHeap => c"it belongs to another heap",
            Code::Reentrant => c"the heap was entered from one of its callbacks",
            Code::AlreadyAttached => c"the thread is a mutator of this heap already",
            Code::NotAllocated => c"the address is in no allocated object",
            Code::NotAtBeginning => c"the address is not an object's first byte",
            Code::AlreadySet => c"the object has another finalizer",
            Code::StopTimedOut => c"a thread reached no boundary in time",
            Code::BadLayout => c"the layout is impossible",
            Code::NoRoom => c"no room for another layout",
            Code::Busy => c"the mutator is in a blocking section or runs finalizers",
            Code::WrongThread => c"the mutator belongs to another thread",
            Code::Cleared => c"the ephemeron's key is gone",
            Code::KeepsItself => c"the argument would keep the object alive for ever",
            Code::NoThread => c"the system gave no thread",
            Code::NotFound => c"there is no such thing",
            Code::Io => c"the write function failed",
            Code::UnzeroedReferences => c"objects with references must be zeroed",
            Code::NotRepeating => c"the layout of an array must repeat",
            Code::BadAlignment => c"the alignment is not supported",
            Code::Corrupt => c"the heap is corrupt",
            Code::Unsupported => c"not supported on this processor",
            Code::Panic => c"the library failed",
            Code::BadHandle => c"the handle was freed or is of another kind",
        }
    }

    /// Every code, by its number.
    pub const ALL: [Code; 28] = [
        Code::None,
        Code::BadArgument,
        Code::OutOfMemory,
        Code::LimitReached,
        Code::TooLarge,
        Code::WrongHeap,
        Code::Reentrant,
        Code::AlreadyAttached,
        Code::NotAllocated,
        Code::NotAtBeginning,
        Code::AlreadySet,
        Code::StopTimedOut,
        Code::BadLayout,
        Code::NoRoom,
        Code::Busy,
        Code::WrongThread,
        Code::Cleared,
        Code::KeepsItself,
        Code::NoThread,
        Code::NotFound,
        Code::Io,
        Code::UnzeroedReferences,
        Code::NotRepeating,
        Code::BadAlignment,
        Code::Corrupt,
        Code::Unsupported,
        Code::Panic,
        Code::BadHandle,
    ];
}

/// The text of a code: one line of English, without a full stop, for ever. Any number may be
/// asked about.
#[unsafe(no_mangle)]
pub extern "C" fn mallocgc_error_text(error: i32) -> *const c_char {
    let known = Code::ALL.into_iter().find(|&code| code as i32 == error);
    known.map_or(c"an unknown error", Code::text).as_ptr()
}

thread_local! {
    static LAST: Cell<Code> = const { Cell::new(Code::None) };
}

/// Why the last function of this thread that failed did so: for those that
/// answer with a pointer or a number and not with a code. Functions that succeed leave it.
#[unsafe(no_mangle)]
pub extern "C" fn mallocgc_last_error() -> mallocgc_error {
    LAST.try_with(Cell::get).unwrap_or(Code::None)
}

/// Notes a failure.
#[cold]
pub(crate) fn note(error: impl Into<Code>) -> Code {
    let code = error.into();
    // A thread past its thread-locals has no last error.
    let _ = LAST.try_with(|last| last.set(code));
    code
}

pub(crate) type Outcome<T = ()> = Result<T, Code>;

/// Runs the body of an exported function; a panic becomes a code. Its hook has
/// printed what it was.
pub(crate) fn guard(body: impl FnOnce() -> Outcome) -> Code {
    match guarded(body) {
        Ok(()) => Code::None,
        Err(code) => code,
    }
}

/// As [`guard`], for a function that answers with something else and notes the code.
pub(crate) fn guard_or<T>(otherwise: T, body: impl FnOnce() -> Outcome<T>) -> T {
    guarded(body).unwrap_or(otherwise)
}

fn guarded<T>(body: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        // Dropping what was thrown may panic in turn.
        std::mem::forget(panic);
        Err(Code::Panic)
    });
    result.map_err(note)
}

impl From<AllocError> for Code {
    fn from(error: AllocError) -> Code {
        match error {
            AllocError::TooLarge { .. } => Code::TooLarge,
            AllocError::LimitReached { .. } => Code::LimitReached,
            AllocError::OutOfMemory { .. } => Code::OutOfMemory,
            AllocError::Reentrant => Code::Reentrant,
            AllocError::WrongHeap => Code::WrongHeap,
            AllocError::BadAlign { .. } => Code::BadAlignment,
            AllocError::UnzeroedReferences => Code::UnzeroedReferences,
            AllocError::NotRepeating => Code::NotRepeating,
            AllocError::ZeroSize => Code::BadArgument,
            _ => Code::OutOfMemory,
        }
    }
}

impl From<HeapError> for Code {
    fn from(error: HeapError) -> Code {
        match error {
            HeapError::Reentrant => Code::Reentrant,
            HeapError::AlreadyAttached => Code::AlreadyAttached,
            HeapError::OutOfMemory(error) => error.into(),
            _ => Code::OutOfMemory,
        }
    }
}

impl From<GcError> for Code {
    fn from(error: GcError) -> Code {
        match error {
            GcError::Reentrant => Code::Reentrant,
            _ => Code::StopTimedOut,
        }
    }
}

impl From<LayoutError> for Code {
    fn from(error: LayoutError) -> Code {
        match error {
            LayoutError::NoRoom => Code::NoRoom,
            _ => Code::BadLayout,
        }
    }
}

impl From<FinalizerError> for Code {
    fn from(error: FinalizerError) -> Code {
        match error {
            FinalizerError::NotAllocated { .. } => Code::NotAllocated,
            FinalizerError::NotAtBeginning { .. } => Code::NotAtBeginning,
            FinalizerError::AlreadySet { .. } => Code::AlreadySet,
            FinalizerError::Reentrant => Code::Reentrant,
            FinalizerError::NoThread(_) => Code::NoThread,
            FinalizerError::OutOfMemory(error) => error.into(),
            _ => Code::BadArgument,
        }
    }
}

impl From<CleanupError> for Code {
    fn from(error: CleanupError) -> Code {
        match error {
            CleanupError::NotAllocated { .. } => Code::NotAllocated,
            CleanupError::PtrEqualsArg | CleanupError::ArgWithinObject { .. } => Code::KeepsItself,
            CleanupError::Reentrant => Code::Reentrant,
            CleanupError::NoThread(_) => Code::NoThread,
            CleanupError::OutOfMemory(error) => error.into(),
            _ => Code::BadArgument,
        }
    }
}

impl From<WeakError> for Code {
    fn from(error: WeakError) -> Code {
        match error {
            WeakError::NotAllocated { .. } => Code::NotAllocated,
            WeakError::Reentrant => Code::Reentrant,
            WeakError::OutOfMemory(error) => error.into(),
            _ => Code::OutOfMemory,
        }
    }
}

impl From<EphemeronError> for Code {
    fn from(error: EphemeronError) -> Code {
        match error {
            EphemeronError::NotAllocated { .. } => Code::NotAllocated,
            EphemeronError::Cleared => Code::Cleared,
            EphemeronError::Reentrant => Code::Reentrant,
            EphemeronError::OutOfMemory(error) => error.into(),
            _ => Code::OutOfMemory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_text_of_its_own_and_a_panic_becomes_one() {
        let texts: std::collections::HashSet<_> =
            Code::ALL.iter().map(|code| code.text()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for (number, code) in Code::ALL.iter().enumerate() {
            assert_eq!(*code as usize, number, "codes are numbered without gaps");
        }
        assert_eq!(guard(|| panic!("as a test of panics wants it")), Code::Panic);
        assert_eq!(mallocgc_last_error(), Code::Panic);
        assert_eq!(guard_or(7, || Err(Code::Cleared)), 7);
        assert_eq!(mallocgc_last_error(), Code::Cleared);
        assert_eq!(guard(|| Ok(())), Code::None);
        assert_eq!(mallocgc_last_error(), Code::Cleared, "success leaves it");
    }
}
