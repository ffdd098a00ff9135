//! The sampled heap profile of a running heap.
//!
//! The cache decides which cell is sampled, by ending a chunk before it; so
//! the fast path knows nothing of sampling. The slow path captures the stack,
//! counts the cell in its bucket and puts a special on the object. When a
//! cycle finds the object dead it credits the bucket. Tiny objects that share
//! a block with an earlier one are never sampled; the block is.
//!
//! Every death is decided while the world is stopped. What a cycle publishes
//! is therefore complete, whoever sweeps.

use crate::base::Address;
use crate::base::sync::Ordering::Relaxed;
use crate::observe::ProfileSnapshot;
use crate::os::backtrace;
use crate::raw::heap::{Heap, Inner};

/// Frames of a stack that are looked at, whatever the settings say.
const FRAMES: usize = 128;

/// Frames between the unwinder and the allocating function that cannot be
/// inlined away: `sample`, and the slow path that calls it.
const OWN_FRAMES: usize = 1;

impl Inner {
    /// Counts a cell that was just handed out and is one for the profile.
    #[cold]
    #[inline(never)]
    pub(crate) fn sample(&self, cell: Address, cell_bytes: usize) {
        let mut frames = [0; FRAMES];
        let most = self.config.profile_max_frames.min(FRAMES);
        let depth = backtrace::capture(&mut frames[..most], OWN_FRAMES);
        let bucket = self.profile.record_alloc(&frames[..depth], cell_bytes);
        // The last byte of a cell belongs to its object, with or without a
        // header word.
        let found = self.space.find_cell(cell.add(cell_bytes - 1));
        let found = found.expect("a cell that was handed out is in a span");
        let numbers = [u64::from(bucket.0), cell_bytes as u64];
        if self.space.specials.add_sample(&self.space, &found, numbers).is_err() {
            // Its death could not be told: better that it never lived.
            self.profile.record_free(bucket, cell_bytes);
        }
    }
}

impl Heap {
    /// The heap profile as of the last collections: what was allocated and
    /// what of it is in use, by stack.
    ///
    /// An object appears two collections after its allocation, so that those
    /// that died at once are not shown as in use; a collection with
    /// [`Force::NowAndSweep`](crate::raw::Force) shows everything that was
    /// allocated before it.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    /// let heap = Heap::new(Config { profile_rate: 1, ..Config::default() })?;
    /// let mutator = heap.attach()?;
    /// mutator.mallocgc(1000, Layout::NOSCAN, AllocFlags::NONE)?;
    /// mutator.gc(Force::NowAndSweep)?;
    /// let profile = heap.profile();
    /// assert_eq!(profile.total().alloc_bytes, 1024);
    /// assert_eq!(profile.total().inuse_bytes, 0);
    /// let mut file = Vec::new(); // or a std::fs::File
    /// profile.write_pprof(&mut file)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn profile(&self) -> ProfileSnapshot {
        self.inner().profile.snapshot(self.profile_rate())
    }

    /// Mean bytes between samples of the heap profile; 0 is none.
    pub fn profile_rate(&self) -> u64 {
        // Relaxed: a setting.
        self.inner().profile_rate.load(Relaxed)
    }

    /// Sets the mean bytes between samples: 0 is none, 1 every allocation.
    /// Returns the old rate. A mutator notices at its next refill, after at
    /// most a page of small objects or a span of others. What was sampled at
    /// another rate is reported as if it had been at this one.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap};
    /// let heap = Heap::new(Config::default())?;
    /// assert_eq!(heap.set_profile_rate(512 << 10), 0);
    /// assert_eq!(heap.profile_rate(), 512 << 10);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn set_profile_rate(&self, bytes: u64) -> u64 {
        // Relaxed: a setting.
        self.inner().profile_rate.swap(bytes, Relaxed)
    }
}
