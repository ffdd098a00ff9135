//! Finalizers that the heap's users run at boundaries, for the interface that has such.
//!
//! To the collector they are finalizers like all others. When their time has come they go to a
//! queue of their own, which no thread waits at: a user who comes by takes what is in it.

use crate::base::Address;
use crate::heap::error::AllocError;
use crate::heap::special::record::RecordId;
use crate::heap::special::{AttachError, RunBy};
use crate::raw::action::{self, OwnedFinalizer};
use crate::raw::finalizer::{FinalizerError, Interior, Placement};
use crate::raw::heap::Inner;
use crate::raw::mutator::Mutator;
use crate::raw::runner::{BATCH, contains_panic};
use crate::world::callback;
use core::ptr::NonNull;

impl Mutator {
    /// Lets `finalizer` be run by [`run_owned_finalizers`](Inner::run_owned_finalizers) once the object is
    /// unreachable. `object` may point anywhere into it.
    ///
    /// # Errors
    ///
    /// As [`set_finalizer`](Mutator::set_finalizer); the finalizer has been dropped then.
    pub(crate) fn set_owned_finalizer(
        &self,
        object: NonNull<u8>,
        finalizer: Box<dyn OwnedFinalizer>,
    ) -> Result<Placement, FinalizerError> {
        if callback::is_inside() {
            return Err(FinalizerError::Reentrant);
        }
        let address = Address::from_ptr(object.as_ptr());
        let Some(found) = self.find_for_finalizer(address, Interior::Any)? else {
            return Ok(Placement::Immortal);
        };
        let inner = self.inner();
        inner.space.specials.set_owned_code(action::owned_code());
        let payload = action::pack_owned(finalizer);
        match inner.space.specials.set_finalizer(&inner.space, &found, address, payload) {
            Ok(()) => Ok(inner.count_placement(&found, address)),
            Err(error) => {
                // SAFETY: packed above, and attached nowhere.
                unsafe { action::discard(payload) };
                Err(match error {
                    AttachError::AlreadySet => FinalizerError::AlreadySet { object: address },
                    AttachError::Memory(error) => {
                        FinalizerError::OutOfMemory(AllocError::from_meta(0, error))
                    }
                })
            }
        }
    }

    /// Takes such a finalizer off an object and drops it; whether it had one.
    ///
    /// # Errors
    ///
    /// As [`clear_finalizer`](Mutator::clear_finalizer).
    pub(crate) fn clear_owned_finalizer(
        &self,
        object: NonNull<u8>,
    ) -> Result<bool, FinalizerError> {
        if callback::is_inside() {
            return Err(FinalizerError::Reentrant);
        }
        let address = Address::from_ptr(object.as_ptr());
        let Some(found) = self.find_for_finalizer(address, Interior::Any)? else {
            return Ok(false);
        };
        let inner = self.inner();
        let specials = &inner.space.specials;
        let payload = specials.clear_finalizer(&inner.space, &found, address, RunBy::Users);
        // User code, so not under the lock.
        // SAFETY: it is such a finalizer's, and ours now.
        payload.inspect(|&payload| unsafe { action::discard(payload) });
        Ok(payload.is_some())
    }
}

impl Inner {
    /// Runs the finalizers that are due, on this thread, with no lock held; returns how many. What
    /// they are for stays alive until each has run. A panic ends with its call.
    ///
    /// # Safety
    ///
    /// All finalizers of this heap may be run with `user`, on this thread.
    pub(crate) unsafe fn run_owned_finalizers(&self, user: *const ()) -> usize {
        let records = &self.space.specials.records;
        let queue = &self.space.specials.owned;
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
                let object = NonNull::new(record.place().object().as_ptr());
                let object = object.expect("objects are not at zero");
                // SAFETY: records in this queue carry such payloads, and this was taken once.
                let finalizer = unsafe { action::unpack_owned(record.payload().words) };
                let failed = contains_panic(|| {
                    // SAFETY: the caller's promise; the record was set on this object.
                    unsafe { finalizer.run(user, object) };
                });
                // What it kept alive is collectable from here on.
                record.set_through();
                panicked += usize::from(failed);
            }
            queue.finish(records, &batch[..taken], taken, panicked);
            records.recycle(batch[..taken].iter().flatten().copied());
            all += taken;
        }
    }
}
