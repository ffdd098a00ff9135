//! Memory that objects have outside of the heap: digits of large numbers, texts of ports. It counts as if it lay inside.

use crate::value::Outcome;
use mallocgc::raw::External;
use mallocgc::typed::{Cx, Gc};
use std::ops::Deref;

/// Bytes that are not worth counting, beside the object itself.
const LITTLE_BYTES: usize = 256;

/// Something with memory of its own, which is counted.
pub(crate) struct Outside<T> {
    it: T,
    _counted: Option<External>,
}

impl<T> Outside<T> {
    /// Counts so many bytes for it.
    pub(crate) fn new<'gc>(cx: &Cx<'gc>, it: T, bytes: usize) -> Outcome<'gc, Outside<T>> {
        let counted = if bytes < LITTLE_BYTES { None } else { Some(count(cx, bytes)?) };
        Ok(Outside { it, _counted: counted })
    }
}

impl<T> Deref for Outside<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.it
    }
}

impl<T: PartialEq> PartialEq for Outside<T> {
    fn eq(&self, other: &Self) -> bool {
        self.it == other.it
    }
}

/// Counts so many bytes.
pub(crate) fn count<'gc>(cx: &Cx<'gc>, bytes: usize) -> Outcome<'gc, External> {
    let mut counted = cx.heap().external(0);
    make_room(cx, &mut counted, bytes)?;
    Ok(counted)
}

/// Counts another number of bytes instead.
pub(crate) fn make_room<'gc>(
    cx: &Cx<'gc>,
    counted: &mut External,
    bytes: usize,
) -> Outcome<'gc, ()> {
    if counted.try_resize(bytes).is_err() {
        // What fails inside of the heap is tried again after a collection, or known to be in vain.
        let more = bytes - counted.bytes();
        Gc::<[u8]>::try_from_iter(cx, std::iter::repeat_n(0, more))?;
        counted.resize(bytes);
    }
    Ok(())
}
