//! Objects whose payload is dropped, for the interface that has such.
//!
//! A cycle that finds the object dead keeps its cell and queues the record; who
//! may drop the payload does so at a boundary, and the next cycle frees the cell.
//! What the payload refers to may be gone by then, so its destructor must not
//! follow references.

use crate::base::Address;
use crate::heap::error::AllocError;
use crate::heap::special::AttachError;
use crate::heap::special::record::{Payload, RecordId};
use crate::raw::heap::Inner;
use crate::raw::mutator::Mutator;
use crate::raw::runner::{BATCH, contains_panic};
use core::mem::MaybeUninit;
use core::ptr::NonNull;

/// Drops the payload of the object at an address, which has so many elements.
pub(crate) type DropFn = unsafe fn(*mut u8, usize);

/// Drops what a record is about. A panic ends here; whether there was one.
///
/// # Safety
///
/// The record was attached by [`Mutator::add_drop`], and this is its only use.
pub(super) unsafe fn run(payload: Payload, object: Address) -> bool {
    // SAFETY: `add_drop` put a function's address there.
    let drop: DropFn = unsafe { core::mem::transmute(payload.code) };
    // SAFETY: and two numbers here.
    let [_, count] = unsafe { payload.as_numbers() };
    contains_panic(|| {
        // SAFETY: the promise made to `add_drop`.
        unsafe { drop(object.as_ptr(), count as usize) }
    })
}

impl Mutator {
    /// Lets the payload of an object be dropped when it is dead. `alive`, a word
    /// of the object, is cleared then.
    ///
    /// # Errors
    ///
    /// When there is no memory for the record.
    ///
    /// # Safety
    ///
    /// `object` is an object's first byte, has no other drop, and will hold what
    /// `drop` expects before the next boundary. `drop` may be called once, by
    /// whoever calls [`run_drops`](Inner::run_drops) or ends the heap.
    pub(crate) unsafe fn add_drop(
        &self,
        object: NonNull<u8>,
        drop: DropFn,
        alive: Option<NonNull<usize>>,
        count: usize,
    ) -> Result<(), AllocError> {
        let inner = self.inner();
        let found = inner.space.find_object(Address::from_ptr(object.as_ptr()));
        let found = found.expect("an object was just allocated");
        let alive = alive.map_or(0, |alive| alive.addr().get() as u64);
        let payload = Payload {
            code: drop as *const (),
            words: [MaybeUninit::new(alive), MaybeUninit::new(count as u64)],
        };
        inner.space.specials.add_drop(&inner.space, &found, payload).map_err(|error| match error {
            AttachError::Memory(error) => AllocError::from_meta(0, error),
            AttachError::AlreadySet => unreachable!("one drop an object"),
        })
    }
}

impl Inner {
    /// Drops the payloads of dead objects, on this thread, with no lock held;
    /// returns how many.
    pub(crate) fn run_drops(&self) -> usize {
        let records = &self.space.specials.records;
        let queue = &self.space.specials.drops;
        let mut all = 0;
        loop {
            let mut batch = [None::<RecordId>; BATCH];
            let taken = queue.take(records, &mut batch);
            if taken == 0 {
                return all;
            }
            let mut panicked = 0;
            for &id in batch[..taken].iter().flatten() {
                let record = records.get(id);
                // SAFETY: attached by `add_drop`, and taken once.
                let failed = unsafe { run(record.payload(), record.place().object()) };
                record.set_through();
                panicked += usize::from(failed);
            }
            queue.finish(records, &batch[..taken], taken, panicked);
            records.recycle(batch[..taken].iter().flatten().copied());
            all += taken;
        }
    }
}
