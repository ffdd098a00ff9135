//! Numbers that name memory: bytes of the heap and pages of the heap.

/// Bytes in a machine word and in a reference.
pub const WORD_SIZE: usize = size_of::<usize>();

/// Log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: usize = 13;

/// Bytes in a page of the heap: the unit in which spans are made (8 KiB).
///
/// Not the page of the processor, which is smaller or equal: `os::page_size`.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

const _: () = assert!(WORD_SIZE == 8, "mallocgc supports 64-bit targets");

/// A number that may name a byte of the heap. Holding one grants no access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Address(usize);

impl Address {
    /// The address that names nothing.
    pub const NULL: Address = Address(0);

    /// An address from its number.
    #[inline]
    pub const fn new(number: usize) -> Address {
        Address(number)
    }

    /// The address a pointer holds; exposes the pointer's provenance.
    #[inline]
    pub fn from_ptr<T>(pointer: *const T) -> Address {
        Address(pointer.expose_provenance())
    }

    /// The number.
    #[inline]
    pub const fn as_usize(self) -> usize {
        self.0
    }

    /// The one place where a number becomes a pointer. `os::Reservation`
    /// exposed the mapping it lies in.
    #[inline]
    pub fn as_ptr<T>(self) -> *mut T {
        core::ptr::with_exposed_provenance_mut(self.0)
    }

    /// The address `bytes` further on, wrapping.
    #[inline]
    #[must_use]
    pub const fn add(self, bytes: usize) -> Address {
        Address(self.0.wrapping_add(bytes))
    }

    /// Bytes from `origin` to here; a huge number when `origin` is above, so
    /// that one comparison checks both ends of a range.
    #[inline]
    pub const fn offset_from(self, origin: Address) -> usize {
        self.0.wrapping_sub(origin.0)
    }

    /// Whether the address is a multiple of `align`, a power of two.
    #[inline]
    pub const fn is_aligned(self, align: usize) -> bool {
        self.0 & (align - 1) == 0
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Number of a page within one heap's reservation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct PageId(pub u32);

impl PageId {
    /// The page's number as an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The page `pages` further on.
    #[inline]
    #[must_use]
    pub const fn add(self, pages: usize) -> PageId {
        PageId(self.0 + pages as u32)
    }
}

/// Rounds `value` up to a multiple of `align`, a power of two; `None` when the
/// result does not fit.
#[inline]
pub const fn checked_round_up(value: usize, align: usize) -> Option<usize> {
    debug_assert!(align.is_power_of_two());
    match value.checked_add(align - 1) {
        Some(sum) => Some(sum & !(align - 1)),
        None => None,
    }
}

/// Rounds `value` up to a multiple of `align`, a power of two.
///
/// # Panics
///
/// In debug builds when the result does not fit.
#[inline]
pub const fn round_up(value: usize, align: usize) -> usize {
    debug_assert!(align.is_power_of_two());
    (value + (align - 1)) & !(align - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_the_least_multiple_not_below() {
        for align_log in 0..13 {
            let align = 1usize << align_log;
            for value in 0..3 * align.min(64) {
                let rounded = round_up(value, align);
                assert!(rounded >= value && rounded - value < align);
                assert!(rounded.is_multiple_of(align));
            }
        }
        assert_eq!(checked_round_up(usize::MAX, 8), None);
        assert_eq!(checked_round_up(usize::MAX - 7, 8), Some(usize::MAX - 7));
    }

    #[test]
    fn offset_below_origin_is_out_of_every_range() {
        assert!(Address::new(4096).offset_from(Address::new(8192)) > usize::MAX / 2);
    }
}
