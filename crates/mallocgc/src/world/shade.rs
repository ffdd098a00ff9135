//! Shades: references that mutators overwrite while marking runs beside them,
//! on their way to the marker.
//!
//! Each mutator writes into a buffer of its own. A full one goes to the heap's
//! list, behind a lock, and the marker takes it from there; what is in the
//! others it takes when the world stops to end marking. Buffers come from
//! `heap::meta` and are used again, so that a store never meets malloc. When
//! there is no memory for one the reference is *lost*, and the collector, told
//! so, ends the cycle with the world stopped and marking begun anew.
//!
//! Protection: a buffer belongs to its mutator's thread while that is active,
//! to the collector while the world is stopped, and to the list's lock once it
//! was handed over; `loom_models` below has every order of events.
//!
//! Not here: which references are shaded (`raw::barrier`), and why that is
//! enough (`docs/design/concurrent.md`).

use crate::base::sync::model::Lock;
use crate::base::sync::{AtomicBool, Ordering::Relaxed, Rank};
use crate::heap::meta::{Meta, MetaStat};
use core::cell::Cell;
use core::ptr::NonNull;

/// Tiny in models, so that a few references fill one.
const BUFFER_BYTES: usize = if cfg!(loom) { 32 } else { 4096 };
const ENTRIES: usize = BUFFER_BYTES / size_of::<usize>() - 2;

#[repr(C)]
struct Buffer {
    next: Option<NonNull<Buffer>>,
    used: usize,
    entries: [usize; ENTRIES],
}

const _: () = assert!(size_of::<Buffer>() == BUFFER_BYTES);

#[derive(Debug, Default)]
struct Lists {
    full: Option<NonNull<Buffer>>,
    free: Option<NonNull<Buffer>>,
}

/// What all mutators of a heap have handed over.
///
/// # Invariants
///
/// 1. A buffer is in `full`, in `free`, or one `ShadeBuffer`'s; it lives as
///    long as the heap.
#[derive(Debug)]
pub(crate) struct Shades {
    lists: Lock<Lists>,
    lost: AtomicBool,
}

// SAFETY: buffers are reached under the lock (invariant 1).
unsafe impl Send for Shades {}
// SAFETY: as for `Send`.
unsafe impl Sync for Shades {}

impl Shades {
    pub(crate) fn new() -> Shades {
        Shades { lists: Lock::new(Rank::Shades, Lists::default()), lost: AtomicBool::new(false) }
    }

    fn take_free(&self, meta: &Meta) -> Option<NonNull<Buffer>> {
        let mut lists = self.lists.lock();
        if let Some(buffer) = lists.free {
            // SAFETY: a free buffer is ours under the lock.
            lists.free = unsafe { buffer.as_ref() }.next;
            return Some(buffer);
        }
        let place = meta.alloc(BUFFER_BYTES, align_of::<Buffer>(), MetaStat::Marking).ok()?;
        Some(place.cast())
    }

    fn hand_over(&self, buffer: NonNull<Buffer>) {
        let mut lists = self.lists.lock();
        // SAFETY: the caller gives the buffer up.
        unsafe { (*buffer.as_ptr()).next = lists.full };
        lists.full = Some(buffer);
    }

    /// Takes one full buffer and passes on what is in it; `false` when there is
    /// none.
    pub(crate) fn take(&self, mut visit: impl FnMut(usize)) -> bool {
        let buffer = {
            let mut lists = self.lists.lock();
            let Some(buffer) = lists.full else { return false };
            // SAFETY: a full buffer is ours under the lock.
            lists.full = unsafe { buffer.as_ref() }.next;
            buffer
        };
        for index in 0..used_entries(buffer) {
            // SAFETY: the buffer is in no list (invariant 1), and this entry is
            // one of those in use.
            visit(unsafe { (*buffer.as_ptr()).entries[index] });
        }
        let mut lists = self.lists.lock();
        // SAFETY: as above.
        unsafe { (*buffer.as_ptr()).next = lists.free };
        lists.free = Some(buffer);
        true
    }

    /// Whether a reference was lost since this was asked last.
    pub(crate) fn take_lost(&self) -> bool {
        // Relaxed: who lost one has stopped since.
        self.lost.swap(false, Relaxed)
    }

    /// As if a reference had been lost.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Relaxed);
    }
}

/// Entries in use of a buffer that is the caller's.
fn used_entries(buffer: NonNull<Buffer>) -> usize {
    // SAFETY: buffers live as long as the heap, and this one is the caller's.
    unsafe { buffer.as_ref() }.used
}

/// One mutator's buffer.
///
/// # Invariants
///
/// 1. `at..end` are the unused entries of `buffer`; both null without one.
#[derive(Debug)]
pub(crate) struct ShadeBuffer {
    at: Cell<*mut usize>,
    end: Cell<*mut usize>,
    buffer: Cell<Option<NonNull<Buffer>>>,
}

impl ShadeBuffer {
    pub(crate) fn new() -> ShadeBuffer {
        ShadeBuffer {
            at: Cell::new(core::ptr::null_mut()),
            end: Cell::new(core::ptr::null_mut()),
            buffer: Cell::new(None),
        }
    }

    /// Notes a reference; `false` when there is no room. Called by the owner.
    #[inline(always)]
    pub(crate) fn try_push(&self, value: usize) -> bool {
        let at = self.at.get();
        if at == self.end.get() {
            return false;
        }
        // SAFETY: invariant 1: `at` is below `end`.
        unsafe {
            at.write(value);
            self.at.set(at.add(1));
        }
        true
    }

    /// Notes a reference, or that one was lost. Called by the owner.
    pub(crate) fn push(&self, value: usize, shades: &Shades, meta: &Meta) {
        let pushed = self.try_push(value) || self.renew(shades, meta) && self.try_push(value);
        if !pushed {
            shades.lose();
        }
    }

    #[cold]
    #[inline(never)]
    fn renew(&self, shades: &Shades, meta: &Meta) -> bool {
        self.hand_over(shades);
        let Some(fresh) = shades.take_free(meta) else { return false };
        // SAFETY: the buffer is ours.
        let first: *mut usize = unsafe { (&raw mut (*fresh.as_ptr()).entries).cast() };
        self.buffer.set(Some(fresh));
        self.at.set(first);
        // SAFETY: the end of its entries.
        self.end.set(unsafe { first.add(ENTRIES) });
        true
    }

    /// Gives what was noted to the list. Called by the owner, or by the
    /// collector while the world is stopped.
    pub(crate) fn hand_over(&self, shades: &Shades) {
        let Some(buffer) = self.buffer.take() else { return };
        let left = (self.end.get() as usize - self.at.get() as usize) / size_of::<usize>();
        // SAFETY: the buffer is ours.
        unsafe { (*buffer.as_ptr()).used = ENTRIES - left };
        self.at.set(core::ptr::null_mut());
        self.end.set(core::ptr::null_mut());
        shades.hand_over(buffer);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::os::fault;

    #[test]
    fn what_is_noted_arrives_once() {
        let (meta, shades, buffer) = (Meta::new(), Shades::new(), ShadeBuffer::new());
        for count in [0, 1, ENTRIES, ENTRIES + 1, 5 * ENTRIES + 3] {
            (0..count).for_each(|value| buffer.push(value, &shades, &meta));
            buffer.hand_over(&shades);
            let mut seen = Vec::new();
            while shades.take(|value| seen.push(value)) {}
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
        assert!(!shades.take_lost());
    }

    #[test]
    fn without_memory_the_loss_is_told() {
        let (meta, shades, buffer) = (Meta::new(), Shades::new(), ShadeBuffer::new());
        let guard = fault::fail_nth(1);
        buffer.push(7, &shades, &meta);
        drop(guard);
        assert!(shades.take_lost());
        buffer.push(8, &shades, &meta);
        assert!(!shades.take_lost(), "it was told once");
        buffer.hand_over(&shades);
        assert!(shades.take(|value| assert_eq!(value, 8)));
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use crate::world::gate::{Gate, State};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A mutator that notes objects, and a collector that takes what it notes:
    /// full buffers at any time, the rest in a stop. An object is written by
    /// who notes it and by who takes it; loom reports when the one does not see
    /// the other's write.
    struct Model {
        gate: Gate,
        state: State,
        meta: Meta,
        shades: Shades,
        buffer: ShadeBuffer,
        objects: [UnsafeCell<u32>; OBJECTS],
    }

    const OBJECTS: usize = 4;

    // SAFETY: the buffer is the mutator's, or in a stop the collector's: what
    // the model is to show.
    unsafe impl Sync for Model {}
    // SAFETY: as for `Sync`.
    unsafe impl Send for Model {}

    impl Model {
        fn write(&self, object: usize) {
            // SAFETY: loom checks that nobody else touches it meanwhile.
            self.objects[object].with_mut(|times| unsafe { *times += 1 });
        }

        /// Notes one object inside the world; `false` when it is stopped.
        fn note(&self, object: usize) -> bool {
            if !self.gate.try_enter(&self.state) {
                return false;
            }
            self.write(object);
            self.buffer.push(object, &self.shades, &self.meta);
            self.gate.leave(&self.state);
            true
        }

        fn take_all(&self) -> u32 {
            let mut taken = 0;
            while self.shades.take(|object| {
                self.write(object);
                taken += 1;
            }) {}
            taken
        }
    }

    /// What a mutator noted before the stop is taken, all of it and once.
    #[test]
    fn loom_what_was_noted_before_the_stop_is_taken() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let model = Arc::new(Model {
                gate: Gate::new(),
                state: State::safe(),
                meta: Meta::new(),
                shades: Shades::new(),
                buffer: ShadeBuffer::new(),
                objects: core::array::from_fn(|_| UnsafeCell::new(0)),
            });
            let mutator = model.clone();
            let mutator = thread::spawn(move || {
                (0..OBJECTS).take_while(|&object| mutator.note(object)).count() as u32
            });
            // Beside the mutator.
            let mut taken = model.take_all();
            // The stop, if it can be had without waiting.
            model.gate.close(false);
            let stopped = !model.state.is_active();
            if stopped {
                model.buffer.hand_over(&model.shades);
                taken += model.take_all();
            }
            let noted = mutator.join().unwrap();
            assert!(!stopped || taken == noted, "{taken} of {noted} were taken");
        });
    }
}
