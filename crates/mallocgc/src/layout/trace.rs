//! Trace functions: layouts that only the user's code can read.

use core::fmt;

use crate::base::Address;

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
}

impl<'a> Tracer<'a> {
    /// A tracer that calls `visit` with each reference that is not null.
    pub fn new(visit: &'a mut dyn FnMut(Address)) -> Tracer<'a> {
        Tracer { visit }
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
        tracer.visit(&raw const first);
        tracer.visit(core::ptr::null::<u8>());
        tracer.visit(&raw const second);
        let expected = [(&raw const first).addr(), (&raw const second).addr()];
        assert_eq!(seen, expected.map(Address::new));
    }
}
