//! The marking loop of heaps whose objects nobody describes.
//!
//! As the loop of `mark`, but of cells of which any word may be a reference: one
//! comparison of eight words with the heap's range says which are looked at. What is rare here, objects of more
//! than a cache line and such as are described, is scanned by the other loop's
//! functions.
//!
//! Protection: as in `mark`; the world is stopped.

use crate::base::{Address, WORD_SIZE};
use crate::collect::kernel::{self, Kernel, Level};
use crate::collect::mark::{Marker, RING, SCANS_PER_LOOK};
use crate::collect::work::Grey;
use crate::heap::span_class::Scan;
use crate::os;

/// Bytes of the cells that one comparison is enough for.
const SHORT_BYTES: u32 = 64;

impl<const SHARED: bool> Marker<'_, SHARED> {
    /// As `drain_own`, in a heap whose words are ambiguous.
    pub(super) fn drain_ambiguous(&mut self) {
        match self.level {
            Level::Plain => self.drain_ambiguous_with::<kernel::Plain>(),
            // SAFETY: `Level::best` has asked the processor.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.drain_ambiguous_avx2() },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.drain_ambiguous_avx512() },
        }
    }

    /// # Safety
    ///
    /// The processor has these instructions.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn drain_ambiguous_avx2(&mut self) {
        self.drain_ambiguous_with::<kernel::Avx2>();
    }

    /// # Safety
    ///
    /// The processor has these instructions.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn drain_ambiguous_avx512(&mut self) {
        self.drain_ambiguous_with::<kernel::Avx512>();
    }

    #[inline(always)]
    fn drain_ambiguous_with<K: Kernel>(&mut self) {
        let range = kernel::Range { base: self.base, extent: self.extent };
        let mut ring = [Grey(0); RING];
        let (mut head, mut waiting) = (0usize, 0usize);
        let mut scans = 0u32;
        let mut hot = self.lift();
        loop {
            while waiting < RING {
                let Some(grey) = hot.top.pop() else { break };
                let address = Address::new(grey.address());
                os::prefetch(address);
                // SAFETY: grey entries name registered classes.
                let bytes = unsafe { self.infos.add(grey.class()).as_ref() }.cell_bytes;
                // Cells need not begin at a line.
                os::prefetch(address.add(bytes.wrapping_sub(1).min(SHORT_BYTES - 1) as usize));
                ring[(head + waiting) % RING] = grey;
                waiting += 1;
            }
            if waiting == 0 {
                // The segment below, or the end.
                self.lower(hot);
                let popped = self.stack.pop();
                hot = self.lift();
                let Some(grey) = popped else {
                    self.lower(hot);
                    return;
                };
                ring[head] = grey;
                waiting = 1;
            }
            let next = ring[head];
            head = (head + 1) % RING;
            waiting -= 1;
            // SAFETY: grey entries name registered classes.
            let info = unsafe { self.infos.add(next.class()).as_ref() };
            // Cells of large objects have 0.
            if info.scan == Scan::Conservative && info.cell_bytes.wrapping_sub(1) < SHORT_BYTES {
                let lanes = u8::MAX >> (8 - info.cell_bytes as usize / WORD_SIZE);
                let start = next.address();
                let words = Address::new(start).as_ptr();
                // SAFETY: the words lie in the cell, the world is stopped, and
                // `drain_ambiguous` chose a kernel of this processor.
                let mut mask = unsafe { K::filter_short(words, lanes, range) };
                while mask != 0 {
                    let word = mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    let value = self.load(start + word * WORD_SIZE);
                    self.visit_word_hot::<false>(&mut hot, value);
                }
            } else {
                self.lower(hot);
                self.scan_long(next);
                hot = self.lift();
            }
            if SHARED {
                scans += 1;
                if scans.is_multiple_of(SCANS_PER_LOOK)
                    && (self.shared.is_hungry() || self.mail.has_arrived())
                {
                    self.lower(hot);
                    self.look_around();
                    hot = self.lift();
                }
            }
        }
    }

    #[inline(never)]
    fn scan_long(&mut self, grey: Grey) {
        // SAFETY: grey entries name registered classes.
        let info = unsafe { self.infos.add(grey.class()).as_ref() };
        if info.scan == Scan::Conservative && info.cell_bytes != 0 {
            let start = grey.address();
            self.scan_range::<false>(start, start + info.cell_bytes as usize);
        } else {
            self.scan(grey);
        }
    }
}
