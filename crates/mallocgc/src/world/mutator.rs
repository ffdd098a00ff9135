//! The record of one mutator: its state, its cache and its own roots.
//!
//! Records are linked into the world's list when made and never unlinked;
//! detaching marks a record free, and the next thread to attach takes it over
//! with its cache's memory.
//!
//! Protection: `state` is the protocol of `stop`. `in_use` is written under
//! the world lock. An abandoned record belongs to who holds that lock. All
//! else belongs to the mutator's thread while the mutator
//! is active, and to the collector while the world is stopped.

use crate::base::Address;
use crate::base::sync::{AtomicBool, AtomicPtr};
use crate::heap::cache::Cache;
use crate::os::{self, OsError, Reservation};
use crate::world::gate::State;
use crate::world::roots::RootVisitor;
use crate::world::shade::ShadeBuffer;
use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;
use std::sync::Mutex;

/// A mutator's callback that visits its roots.
pub type RootCallback = Box<dyn FnMut(&mut RootVisitor<'_>) + Send>;

/// One thread's side of a heap.
#[derive(Debug)]
pub struct MutatorRecord {
    /// Next record of the world's list.
    pub(crate) next: AtomicPtr<MutatorRecord>,
    pub(crate) state: State,
    pub(crate) in_use: AtomicBool,
    /// Its thread has dropped it and touches it no more; it is still attached.
    pub(crate) abandoned: AtomicBool,
    /// The cells this mutator allocates from.
    pub cache: Cache,
    /// References the mutator's native code holds.
    pub roots: RootStack,
    pub(crate) callback: Callback,
    /// References it has overwritten while marking runs.
    pub(crate) shades: ShadeBuffer,
    /// Which thread this is, for messages.
    pub(crate) thread: ThreadName,
}

/// A mutator's root callback.
#[derive(Default)]
pub(crate) struct Callback(pub(crate) UnsafeCell<Option<RootCallback>>);

impl core::fmt::Debug for Callback {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Callback")
    }
}

/// Name and number of a thread, readable while it runs.
#[derive(Debug, Default)]
pub(crate) struct ThreadName(Mutex<(u32, [u8; 31], u8)>);

impl ThreadName {
    pub(crate) fn set_current(&self) {
        let current = std::thread::current();
        let name = current.name().unwrap_or("unnamed").as_bytes();
        let mut entry = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let len = name.len().min(entry.1.len());
        entry.0 = os::thread_id();
        entry.1[..len].copy_from_slice(&name[..len]);
        entry.2 = len as u8;
    }

    pub(crate) fn get(&self) -> ThreadLabel {
        let entry = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        ThreadLabel { id: entry.0, name: entry.1, len: entry.2 }
    }
}

/// Which thread a message is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ThreadLabel {
    id: u32,
    name: [u8; 31],
    len: u8,
}

impl ThreadLabel {
    /// The system's number of the thread.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The thread's name, cut to 31 bytes.
    pub fn name(&self) -> &str {
        let bytes = &self.name[..self.len as usize];
        match core::str::from_utf8(bytes) {
            Ok(name) => name,
            // Cut in the middle of a character.
            Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
        }
    }
}

impl core::fmt::Display for ThreadLabel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "thread {} ({})", self.id(), self.name())
    }
}

impl core::fmt::Debug for ThreadLabel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

impl MutatorRecord {
    pub(crate) fn new(seed: u64) -> Result<MutatorRecord, OsError> {
        Ok(MutatorRecord {
            next: AtomicPtr::new(core::ptr::null_mut()),
            state: State::safe(),
            in_use: AtomicBool::new(true),
            abandoned: AtomicBool::new(false),
            cache: Cache::new(seed)?,
            roots: RootStack::new()?,
            callback: Callback::default(),
            shades: ShadeBuffer::new(),
            thread: ThreadName::default(),
        })
    }
}

/// Slots of address range each mutator has for its stack of roots (16 Mi).
const ROOT_SLOTS: usize = 16 << 20;
/// Slots committed at a time.
const ROOT_STEP: usize = 8 << 10;

/// A stack of slots that hold references: what native code needs across a
/// boundary.
///
/// A frame is a stack upon the stack. While one is open, places count from its
/// base, so that what is called in it can neither cut off nor exchange what its
/// caller keeps alive. The collector sees all slots.
///
/// # Invariants
///
/// 1. `slots` starts `committed` readable and writable words; `len` is at
///    most `committed`, and `base` at most `len`.
#[derive(Debug)]
pub struct RootStack {
    slots: NonNull<usize>,
    /// Slots in use, those below the open frame included.
    len: Cell<usize>,
    /// Where the open frame begins; zero when none is open.
    base: Cell<usize>,
    /// The number of the open frame; zero when none is open.
    frame: Cell<u64>,
    /// Frames ever begun.
    frames: Cell<u64>,
    committed: Cell<usize>,
    memory: Reservation,
}

/// What [`RootStack::end_frame`] restores.
#[derive(Debug)]
pub(crate) struct Frame {
    number: u64,
    outer: u64,
    outer_base: usize,
    base: usize,
}

impl RootStack {
    fn new() -> Result<RootStack, OsError> {
        let memory = Reservation::reserve(ROOT_SLOTS * size_of::<usize>(), 4096)?;
        let slots = NonNull::new(memory.base().as_ptr()).expect("a mapping is not at zero");
        Ok(RootStack {
            slots,
            len: Cell::new(0),
            base: Cell::new(0),
            frame: Cell::new(0),
            frames: Cell::new(0),
            committed: Cell::new(0),
            memory,
        })
    }

    /// Slots of the open frame in use.
    #[inline]
    pub fn len(&self) -> usize {
        self.len.get() - self.base.get()
    }

    /// Whether no slot of the open frame is in use.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens a frame: the stack looks empty until it ends.
    pub(crate) fn begin_frame(&self) -> Frame {
        let number = self.frames.get() + 1;
        self.frames.set(number);
        Frame {
            number,
            outer: self.frame.replace(number),
            outer_base: self.base.replace(self.len.get()),
            base: self.len.get(),
        }
    }

    /// Ends the frame opened last: the stack is as it was before. `false` when
    /// the frame is not open any more, since the mutator was detached in it.
    pub(crate) fn end_frame(&self, frame: &Frame) -> bool {
        if self.frame.get() != frame.number {
            return false;
        }
        self.frame.set(frame.outer);
        self.len.set(frame.base);
        self.base.set(frame.outer_base);
        true
    }

    /// Drops all slots and ends all frames. The mutator detaches.
    pub(crate) fn clear(&self) {
        self.len.set(0);
        self.base.set(0);
        self.frame.set(0);
    }

    /// Pushes a reference; `false` when the stack is full or cannot grow.
    #[inline]
    pub fn push(&self, value: Address) -> bool {
        let len = self.len.get();
        if len == self.committed.get() && !self.grow() {
            return false;
        }
        // SAFETY: `len` is below `committed` (invariant 1).
        unsafe { self.slots.add(len).write(value.as_usize()) };
        self.len.set(len + 1);
        true
    }

    #[cold]
    fn grow(&self) -> bool {
        let committed = self.committed.get();
        if committed == ROOT_SLOTS {
            return false;
        }
        let step = ROOT_STEP * size_of::<usize>();
        if self.memory.commit(committed * size_of::<usize>(), step).is_err() {
            return false;
        }
        self.committed.set(committed + ROOT_STEP);
        true
    }

    /// The reference in a slot.
    ///
    /// # Panics
    ///
    /// When the slot is not in use.
    #[inline]
    pub fn get(&self, index: usize) -> Address {
        assert!(index < self.len(), "root {index} of {}", self.len());
        // SAFETY: checked, and invariant 1.
        Address::new(unsafe { self.slots.add(self.base.get() + index).read() })
    }

    /// Replaces the reference in a slot.
    ///
    /// # Panics
    ///
    /// When the slot is not in use.
    #[inline]
    pub fn set(&self, index: usize, value: Address) {
        assert!(index < self.len(), "root {index} of {}", self.len());
        // SAFETY: checked, and invariant 1.
        unsafe { self.slots.add(self.base.get() + index).write(value.as_usize()) };
    }

    /// Drops the slots from `len` on.
    ///
    /// # Panics
    ///
    /// When fewer are in use.
    #[inline]
    pub fn truncate(&self, len: usize) {
        assert!(len <= self.len(), "truncating {} roots to {len}", self.len());
        self.len.set(self.base.get() + len);
    }

    /// Visits all slots, of whichever frame.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(usize)) {
        for index in 0..self.len.get() {
            // SAFETY: `index` is below `len`, and invariant 1.
            visit(unsafe { self.slots.add(index).read() });
        }
    }
}
