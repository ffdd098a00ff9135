//! Windows: allocation, barrier and poll by code that is not this library's.
//!
//! A compiler at run time, or a header of C, allocates without a call from a window: two words
//! that say where the free cells at hand of one class lie. Cells are `cell_bytes` long, lie side by side
//! from the first word to the second, and are zero. Whoever takes one adds its length to the
//! first word; when the words are equal, [`Mutator::alloc`] opens the next.
//!
//! ```text
//! window  = windows_address + window_offset        of the mutator, of the class
//! object  = window[0]
//! if object == window[1]: call the library
//! window[0] = object + cell_bytes
//! ```
//!
//! That is all that is promised; what else lies beside the two words is the library's. Whatever must
//! happen at a certain allocation is done by ending the window before it, so nothing else is to be
//! asked for: samples of the profile, listeners, single steps, limits. A window
//! may change wherever this library is called with its mutator, and between two boundaries of it at no
//! other time. Other threads read the first word while it is written, so both are accessed
//! by relaxed atomic loads and stores of whole words.
//!
//! The words are the cursors of `heap::cache`; nothing is copied to make a window.

use crate::base::sync::AtomicU32;
use crate::raw::heap::Heap;
use crate::raw::mutator::{AllocClass, Mutator};

/// What generated code tests before a poll where every poll must be a call.
static ALWAYS: AtomicU32 = AtomicU32::new(1);

impl Mutator {
    /// The address to which [`AllocClass::window_offset`] is added, for generated code. It is the
    /// mutator's, and stays what it is as long as that.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap, Layout};
    /// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let class = mutator.alloc_class(48, Layout::NOSCAN)?;
    /// // The first call opens the window.
    /// let first = mutator.alloc(class)?;
    /// // SAFETY: two words, as long as the mutator, on its thread.
    /// let [next, limit] = unsafe {
    ///     &*mutator.windows_address().add(class.window_offset()).cast::<[AtomicUsize; 2]>()
    /// };
    /// assert_ne!(next.load(Relaxed), limit.load(Relaxed));
    /// let second = next.fetch_add(class.cell_bytes(), Relaxed);
    /// assert_eq!(second, first.as_ptr().addr() + class.cell_bytes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn windows_address(&self) -> *mut u8 {
        self.cursors().base().cast()
    }

    /// The address of a word of 32 bits that is not zero while [`poll`](Mutator::poll) would do
    /// something, for generated code. It is written by other threads.
    pub fn poll_word_address(&self) -> *const u32 {
        if self.heap().inner().config.collect_every != 0 {
            return core::ptr::from_ref(&ALWAYS).cast();
        }
        self.heap().inner().world.poll_word_address()
    }
}

impl AllocClass {
    /// Where the class's window lies behind [`Mutator::windows_address`], in bytes; less than 2 MiB. Cells of
    /// more than 512 bytes are cleared when they are handed out, so their window is one that
    /// is always empty.
    pub fn window_offset(self) -> usize {
        self.window_class().index() * crate::heap::cache::CURSOR_BYTES
    }

    /// Bytes of a cell of the class: what generated code adds to a window's first word.
    pub fn cell_bytes(self) -> usize {
        self.size
    }

    /// Whether it is a class of this heap.
    pub fn is_of(self, heap: &Heap) -> bool {
        self.heap == heap.inner().id
    }
}
