//! Trace functions: layouts that only the user's code can read.

use core::fmt;

use crate::base::Address;
use crate::base::claim::{MarkingCycle, ReadClaim};
use crate::base::stripes::{Held, Stripes};

/// Reports every reference in one object to the tracer.
///
/// `object` is the object's first byte, `size` the bytes it may look at: the
/// whole cell, or one element of an array. Memory beyond what the program wrote
/// is zero, so a function must accept an object of zeroes.
///
/// # Examples
///
/// ```
/// use mallocgc::layout::{Tracer, TypeLayout};
///
/// /// A word that says whether the other is a reference.
/// unsafe fn trace_value(object: *mut u8, _: usize, tracer: &mut Tracer<'_>) {
///     // SAFETY: an object of this type has two words.
///     let [tag, payload] = unsafe { object.cast::<[*const u8; 2]>().read() };
///     if tag.addr() == 1 {
///         tracer.visit(payload);
///     }
/// }
///
/// let value = TypeLayout::trace(16, trace_value);
/// assert!(!value.is_noscan() && value.size_bytes() == 16);
/// ```
///
/// # Safety
///
/// The heap promises that `size` bytes at `object` can be read and that nobody
/// moves or frees them meanwhile. The function promises to report every
/// reference, to write nothing, and not to allocate: allocation inside it is
/// refused with an error.
pub type TraceFn = unsafe fn(object: *mut u8, size: usize, tracer: &mut Tracer<'_>);

/// Where a trace function reports references.
///
/// It hides what is done with them: marking, verifying, dumping.
pub struct Tracer<'a> {
    visit: &'a mut dyn FnMut(Address),
    beside: Option<Beside<'a>>,
    data: usize,
}

/// How values are read that mutators may be changing.
pub(crate) struct Beside<'a> {
    cycle: MarkingCycle,
    reader: Reader,
    stripes: &'a Stripes,
    held: Option<Held<'a>>,
}

/// Who reads them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reader {
    /// The marker, which passes over what others have.
    Marker,
    /// The mutator that has the value to itself, and is about to change it.
    Owner,
}

impl<'a> Beside<'a> {
    pub(crate) fn new(cycle: MarkingCycle, reader: Reader, stripes: &'a Stripes) -> Beside<'a> {
        Beside { cycle, reader, stripes, held: None }
    }
}

impl<'a> Tracer<'a> {
    /// A tracer that calls `visit` with each reference that is not null, while
    /// nobody changes an object.
    pub(crate) fn new(visit: &'a mut dyn FnMut(Address)) -> Tracer<'a> {
        Tracer { visit, beside: None, data: 0 }
    }

    /// The same beside mutators.
    pub(crate) fn beside(visit: &'a mut dyn FnMut(Address), beside: Beside<'a>) -> Tracer<'a> {
        Tracer { visit, beside: Some(beside), data: 0 }
    }

    /// Calls `read` for a value that is behind a claim, unless it was read in this
    /// cycle, or another thread is at it.
    #[inline]
    pub(crate) fn read_claimed(&mut self, claim: &ReadClaim, read: impl FnOnce(&mut Self)) {
        let Some(beside) = &mut self.beside else { return read(self) };
        // It may take long.
        beside.held = None;
        let (cycle, reader) = (beside.cycle, beside.reader);
        match reader {
            Reader::Marker => claim.read_if_free(cycle, || read(self)),
            Reader::Owner => claim.read_or_wait(cycle, || read(self)),
        }
    }

    /// From here on, and until the next such call, nobody changes a small value
    /// at an address who takes the lock of its place.
    #[inline]
    pub(crate) fn keep_writers_off(&mut self, address: Address) {
        let Some(beside) = &mut self.beside else { return };
        if beside.reader == Reader::Owner
            || beside.held.as_ref().is_some_and(|held| held.covers(address))
        {
            return;
        }
        // One at a time: first the old one goes.
        beside.held = None;
        beside.held = Some(beside.stripes.hold(address));
    }

    /// Goes on with layouts of this word.
    pub(crate) fn set_data(&mut self, data: usize) {
        self.data = data;
    }

    /// The word of the layout that is traced: what
    /// [`TypeLayout::trace_with`](super::TypeLayout::trace_with) was given, or 0.
    #[inline]
    pub fn data(&self) -> usize {
        self.data
    }

    /// Reports a reference; null is ignored.
    #[inline]
    pub fn visit<T: ?Sized>(&mut self, reference: *const T) {
        let address = Address::new(reference.addr());
        if address != Address::NULL {
            (self.visit)(address);
        }
    }
}

impl fmt::Debug for Tracer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tracer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracer_passes_references_on_and_drops_null() {
        let (first, second) = (1u32, 2u64);
        let mut seen = Vec::new();
        let mut visit = |address| seen.push(address);
        let mut tracer = Tracer::new(&mut visit);
        tracer.set_data(7);
        assert_eq!(tracer.data(), 7);
        tracer.visit(&raw const first);
        tracer.visit(core::ptr::null::<u8>());
        tracer.visit(&raw const second);
        let expected = [(&raw const first).addr(), (&raw const second).addr()];
        drop(tracer);
        assert_eq!(seen, expected.map(Address::new));
    }
}
