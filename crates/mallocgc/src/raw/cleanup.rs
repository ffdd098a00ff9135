//! Cleanups: functions that run after an object is gone.
//!
//! Any number can be added to an object, at any place in it. Cleanups do not
//! get the object and cannot bring it back, so it is freed in the cycle that
//! finds it unreachable, also when it refers to itself. An object that has a
//! finalizer, too, is not gone before that has run: its cleanups wait for a
//! later cycle. They run in no particular order, on a thread of their own
//! (`runner`).
//!
//! The origin also refuses a function that captures the object. Here a
//! closure is no object and keeps none alive: a pointer it captures dangles
//! when it runs. What a cleanup needs from the heap is its argument.

use crate::base::Address;
use crate::heap::error::AllocError;
use crate::heap::special::record::Payload;
use crate::heap::special::{Argument, AttachError, Ticket};
use crate::os::OsError;
use crate::raw::action;
use crate::raw::finalizer::{Located, Placement};
use crate::raw::heap::Heap;
use crate::raw::mutator::Mutator;
use crate::raw::runner::Duty;
use crate::world::callback;
use core::mem::MaybeUninit;

/// Why a cleanup was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CleanupError {
    /// The pointer is null.
    PtrIsNull,
    /// The argument is the pointer: it would keep the object alive for ever.
    PtrEqualsArg,
    /// The pointer is in no object of this heap.
    NotAllocated {
        /// The pointer.
        address: Address,
    },
    /// The argument points into the object and would keep it alive for ever.
    ArgWithinObject {
        /// The argument.
        argument: Address,
        /// Where the object begins.
        object: Address,
    },
    /// The thread is inside a callback of a heap.
    Reentrant,
    /// There is no memory for the record.
    OutOfMemory(AllocError),
    /// The system gave no thread to run cleanups.
    NoThread(OsError),
}

impl core::fmt::Display for CleanupError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("add_cleanup: ")?;
        match self {
            Self::PtrIsNull => f.write_str("the pointer is null"),
            Self::PtrEqualsArg => {
                f.write_str("the argument is the pointer, the cleanup would never run")
            }
            Self::NotAllocated { address } => {
                write!(f, "pointer {address:?} is in no allocated object")
            }
            Self::ArgWithinObject { argument, object } => write!(
                f,
                "argument {argument:?} is in the object at {object:?}, the cleanup would never run"
            ),
            Self::Reentrant => f.write_str("called from inside a callback"),
            Self::OutOfMemory(error) => write!(f, "{error}"),
            Self::NoThread(error) => write!(f, "no thread to run cleanups: {error}"),
        }
    }
}

impl std::error::Error for CleanupError {}

/// Names a cleanup, to stop it. Valid for ever; keeps nothing alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cleanup {
    heap: u64,
    /// None for a cleanup on something immortal.
    ticket: Option<Ticket>,
    placement: Placement,
}

// SAFETY: the pointer in `placement` is only a number to others.
unsafe impl Send for Cleanup {}
// SAFETY: as for `Send`.
unsafe impl Sync for Cleanup {}

impl Cleanup {
    /// Keeps the cleanup from running; whether it did. Again, or once the
    /// cleanup is queued, it does nothing.
    ///
    /// # Panics
    ///
    /// When the cleanup is of another heap.
    pub fn stop(&self, heap: &Heap) -> bool {
        let inner = heap.inner();
        assert_eq!(self.heap, inner.id, "a cleanup was stopped in another heap");
        let Some(ticket) = self.ticket else { return false };
        let payload = inner.space.specials.stop_cleanup(&inner.space, ticket);
        // User code, so not under the lock.
        // SAFETY: cleanups carry packed closures; this one is ours now.
        payload.inspect(|&payload| unsafe { action::discard(payload) });
        payload.is_some()
    }

    /// Whether the cleanup is of this heap.
    pub fn is_of(&self, heap: &Heap) -> bool {
        self.heap == heap.inner().id
    }

    /// Where the object lies.
    pub fn placement(&self) -> Placement {
        self.placement
    }
}

impl Mutator {
    /// Lets `cleanup` run after the object that `object` points at or into is
    /// gone, on the heap's thread or in
    /// [`run_cleanups`](Mutator::run_cleanups).
    ///
    /// What the closure captures must not keep the heap alive, or the heap
    /// lives until the cleanup has run.
    ///
    /// # Errors
    ///
    /// [`CleanupError`]; nothing has been added then.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    /// use std::time::Duration;
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mut mutator = heap.attach()?;
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// let (sender, gone) = std::sync::mpsc::channel();
    /// mutator.add_cleanup(object.as_ptr(), move |_| sender.send("gone").unwrap())?;
    /// let stopped = mutator.add_cleanup(object.as_ptr(), |_| unreachable!())?;
    /// assert!(stopped.stop(&heap));
    /// mutator.gc(Force::Now)?;
    /// assert!(mutator.wait_cleanups(Duration::from_secs(60)));
    /// assert_eq!(gone.recv()?, "gone");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_cleanup(
        &self,
        object: *mut u8,
        cleanup: impl FnOnce(&mut Mutator) + Send + 'static,
    ) -> Result<Cleanup, CleanupError> {
        let payload = action::pack(move |mutator: &mut Mutator, _: *mut u8| cleanup(mutator));
        self.add_packed(object, core::ptr::null_mut(), payload, Argument::None)
    }

    /// As [`add_cleanup`](Mutator::add_cleanup), with an argument that is
    /// passed on. If it points at or into an object, that object lives until
    /// the cleanup has run or is stopped.
    ///
    /// # Errors
    ///
    /// As `add_cleanup`; also when the argument would keep the object alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    ///
    /// let heap = Heap::new(Config { background: false, ..Config::default() })?;
    /// let mut mutator = heap.attach()?;
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// let log = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// mutator.add_cleanup_with(object.as_ptr(), log.as_ptr(), |_, log| {
    ///     // SAFETY: the argument has lived until now.
    ///     unsafe { *log = 1 };
    /// })?;
    /// mutator.push_root(log);
    /// mutator.gc(Force::Now)?;
    /// assert_eq!(mutator.run_cleanups(usize::MAX), 1);
    /// // SAFETY: it is a root.
    /// assert_eq!(unsafe { *log.as_ptr() }, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_cleanup_with(
        &self,
        object: *mut u8,
        argument: *mut u8,
        cleanup: impl FnOnce(&mut Mutator, *mut u8) + Send + 'static,
    ) -> Result<Cleanup, CleanupError> {
        let mut payload = action::pack_first(cleanup);
        payload.words[1] = MaybeUninit::new(Address::from_ptr(argument).as_usize() as u64);
        self.add_packed(object, argument, payload, Argument::Second)
    }

    fn add_packed(
        &self,
        object: *mut u8,
        argument: *mut u8,
        payload: Payload,
        kind: Argument,
    ) -> Result<Cleanup, CleanupError> {
        let added = self.try_add_packed(object, argument, payload, kind);
        if !matches!(added, Ok(Cleanup { ticket: Some(_), .. })) {
            // SAFETY: packed by the caller, and attached nowhere.
            unsafe { action::discard(payload) };
        }
        added
    }

    fn try_add_packed(
        &self,
        object: *mut u8,
        argument: *mut u8,
        payload: Payload,
        kind: Argument,
    ) -> Result<Cleanup, CleanupError> {
        if callback::is_inside() {
            return Err(CleanupError::Reentrant);
        }
        if object.is_null() {
            return Err(CleanupError::PtrIsNull);
        }
        if object == argument {
            return Err(CleanupError::PtrEqualsArg);
        }
        let inner = self.inner();
        let address = Address::from_ptr(object);
        let found = match inner.locate(address) {
            None => return Err(CleanupError::NotAllocated { address }),
            Some(Located::Immortal) => {
                let placement = Placement::Immortal;
                return Ok(Cleanup { heap: inner.id, ticket: None, placement });
            }
            Some(Located::Object(found)) => found,
        };
        let argument = Address::from_ptr(argument);
        // A neighbour in a block of tiny objects is another object.
        if argument.offset_from(found.object) < found.bytes && !inner.is_tiny(&found) {
            return Err(CleanupError::ArgWithinObject { argument, object: found.object });
        }
        self.heap().ensure_runner(Duty::Cleanups).map_err(CleanupError::NoThread)?;
        let specials = &inner.space.specials;
        match specials.add_cleanup(&inner.space, &found, address, payload, kind) {
            Ok(ticket) => {
                let placement = inner.count_placement(&found, address);
                Ok(Cleanup { heap: inner.id, ticket: Some(ticket), placement })
            }
            Err(AttachError::Memory(error)) => {
                Err(CleanupError::OutOfMemory(AllocError::from_meta(0, error)))
            }
            Err(AttachError::AlreadySet) => unreachable!("cleanups are any number"),
        }
    }
}
