//! Bytes on the heap behind one word: the address, with the length in the 16 bits above it.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::num::NonZeroU64;

/// Owned bytes, as small as a reference.
pub struct Blob(NonZeroU64);

const LENGTH_SHIFT: u32 = 48;

impl Blob {
    fn layout(length: usize, align: usize) -> Layout {
        assert!(length > 0 && length < 1 << 16);
        Layout::from_size_align(length, align).expect("lengths are small")
    }

    fn new(p: *mut u8, length: usize) -> Blob {
        let address = p.expose_provenance() as u64;
        assert!(address != 0 && address >> LENGTH_SHIFT == 0, "no memory");
        let word = NonZeroU64::new(address | (length as u64) << LENGTH_SHIFT);
        Blob(word.expect("the address is not zero"))
    }

    /// A string of `length` bytes with number i in it; the bytes between are nobody's.
    pub fn string(length: u64, i: u64) -> Blob {
        let length = length as usize;
        // SAFETY: the size is not zero.
        let blob = Blob::new(unsafe { alloc(Blob::layout(length, 1)) }, length);
        // SAFETY: inside the allocation.
        unsafe { blob.ptr().add(length - 1).write((i >> 8) as u8) };
        // SAFETY: as above.
        unsafe { blob.ptr().write(i as u8) };
        blob
    }

    /// A zeroed block whose first word is `tag`.
    pub fn block(length: u64, tag: u64) -> Blob {
        let length = length as usize;
        // SAFETY: the size is not zero.
        let blob = Blob::new(unsafe { alloc_zeroed(Blob::layout(length, 8)) }, length);
        let first: *mut u64 = blob.ptr().cast();
        // SAFETY: callers want at least a word; it is aligned and zeroed.
        unsafe { *first += tag };
        blob
    }

    fn ptr(&self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut((self.0.get() & ((1 << LENGTH_SHIFT) - 1)) as usize)
    }

    /// The first byte.
    pub fn first(&self) -> u8 {
        // SAFETY: every blob's first byte is written.
        unsafe { self.ptr().read() }
    }

    /// The first word of a block.
    pub fn tag(&self) -> u64 {
        // SAFETY: blocks have a first word.
        unsafe { self.ptr().cast::<u64>().read() }
    }

    /// Frees it, as what it was made.
    fn free(&self, align: usize) {
        let length = (self.0.get() >> LENGTH_SHIFT) as usize;
        // SAFETY: allocated so, and freed once, by the wrappers below.
        unsafe { dealloc(self.ptr(), Blob::layout(length, align)) }
    }
}

/// A blob made by [`Blob::string`].
pub struct Text(pub Blob);

impl Drop for Text {
    fn drop(&mut self) {
        self.0.free(1);
    }
}

/// A blob made by [`Blob::block`].
pub struct Block(pub Blob);

impl Drop for Block {
    fn drop(&mut self) {
        self.0.free(8);
    }
}
