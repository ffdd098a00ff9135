//! Settings of a heap.

use crate::base::fatal;
use crate::observe::ProfileConfig;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where a heap's messages go: one line each, without the newline. Called on
/// any thread, perhaps on several at once. A callback: what it asks of a heap
/// may be refused. Its panic is contained: the line is lost, nothing else.
pub type LogFn = Arc<dyn Fn(fmt::Arguments<'_>) + Send + Sync>;

/// Settings of a heap. Start from [`Config::default`] and change fields.
///
/// # Examples
///
/// ```
/// use mallocgc::raw::{Config, Heap};
/// let heap = Heap::new(Config { heap_limit_bytes: 64 << 20, ..Config::default() })?;
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[derive(Clone)]
pub struct Config {
    /// Growth over live bytes, in percent, that starts a cycle. `None` turns
    /// automatic collection off. Default 100, as the origin's `GOGC`.
    pub gc_percent: Option<u32>,
    /// Bytes below which no cycle starts, at 100 percent. Default 4 MiB.
    pub min_heap_bytes: usize,
    /// Bytes in spans, and external ones, that allocation never exceeds; it answers with
    /// `AllocError::LimitReached` instead. Default: none.
    pub heap_limit_bytes: usize,
    /// Bytes of memory, free pages, tables and external bytes included, that the heap tries not
    /// to exceed: [`Heap::set_memory_limit_bytes`](crate::raw::Heap::set_memory_limit_bytes).
    /// Default: none.
    pub memory_limit_bytes: usize,
    /// Percent of the memory limit of the process's control group that are this heap's
    /// memory limit, if that is smaller than `memory_limit_bytes`; more than 100 counts as 100. What else
    /// the process needs must fit into the rest. `None`, the default, does not look.
    pub cgroup_percent: Option<u32>,
    /// Where the files of control groups are looked for. Default: `/`.
    pub cgroup_root: Option<PathBuf>,
    /// Bytes of address range reserved for objects. 0, the default, is four
    /// times the machine's memory and at least 64 GiB; halved as often as the
    /// system refuses.
    pub reserve_bytes: usize,
    /// Whether a heap of more than 8 MiB asks the system for huge pages.
    /// Default true.
    pub huge_pages: bool,
    /// Threads that mark in a stopped world, the one that asked among them. 0, the default, is
    /// one for every four processors, four at most, or one for every mutator that stands meanwhile,
    /// if there are processors for them; and one for heaps of less than 8 MiB. More threads stop the
    /// mutators for a shorter time and take more processor time in all, with two a tenth for trees
    /// and nine tenths for a random graph: what they find in each other's parts of the heap they
    /// must send each other. At most 256.
    pub workers: usize,
    /// Whether the heap may start threads of its own: to sweep, to give
    /// memory back, to run finalizers. Default true.
    pub background: bool,
    /// A heap with at least so many bytes of objects is marked beside its
    /// mutators, which stand for two short stops in a cycle: `usize::MAX`, the
    /// default, is none.
    ///
    /// It needs the barrier: every reference in an object that a mutator has kept
    /// across a boundary is overwritten with
    /// [`Mutator::write`](crate::raw::Mutator::write) or after
    /// [`pre_write`](crate::raw::Mutator::pre_write) and its kin; the safe
    /// interface's cells do that. Heaps that have objects of a conservative layout
    /// are marked in a stop nevertheless.
    pub concurrent_from_bytes: usize,
    /// Seeds delays in marking beside mutators, for tests; 0, the default, is
    /// none.
    pub mark_delay_seed: u64,
    /// How long a cycle waits for a mutator that reaches no boundary, before
    /// it names the mutator and is put off. Default 1 s.
    pub stop_limit: Duration,
    /// Mean bytes between samples of the heap profile; 0, the default, is
    /// none, 1 is every allocation.
    pub profile_rate: u64,
    /// Buckets of the heap profile, one for each stack and size. Samples that
    /// find no room are counted by size alone, and in the statistics as
    /// `profile_overflows`; 0 counts all samples so. Default 16,384: about 5 MiB
    /// when stacks are 20 deep, of which the first sample takes 24 bytes for
    /// every 64 buckets.
    pub profile_max_buckets: u32,
    /// Frames of a stack that the heap profile tells apart, innermost first;
    /// 128 at most. Each costs a fifth of a microsecond for a sample, and 8
    /// bytes in a bucket. Default 64.
    pub profile_max_frames: usize,
    /// Collect at every n-th allocation that is a safepoint, and at every
    /// n-th poll; 0, the default, is never.
    pub collect_every: u32,
    /// Overwrite the cells of dead objects with this word when they are
    /// swept; 0, the default, is not to.
    pub clobber: u64,
    /// Check the whole heap after each phase of a cycle. Default false.
    pub verify: bool,
    /// 0, the default, prints nothing; 1 a line for each cycle; 2 also
    /// statistics of the spans.
    pub trace_level: u32,
    /// Where messages go. Default: standard error.
    pub log: LogFn,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            gc_percent: Some(100),
            min_heap_bytes: 4 << 20,
            heap_limit_bytes: usize::MAX,
            memory_limit_bytes: usize::MAX,
            cgroup_percent: None,
            cgroup_root: None,
            reserve_bytes: 0,
            huge_pages: true,
            workers: 0,
            background: true,
            concurrent_from_bytes: usize::MAX,
            mark_delay_seed: 0,
            stop_limit: Duration::from_secs(1),
            profile_rate: 0,
            profile_max_buckets: ProfileConfig::default().max_buckets,
            profile_max_frames: ProfileConfig::default().max_depth,
            collect_every: 0,
            clobber: 0,
            verify: false,
            trace_level: 0,
            log: Arc::new(fatal::print_unbuffered),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("gc_percent", &self.gc_percent)
            .field("min_heap_bytes", &self.min_heap_bytes)
            .field("heap_limit_bytes", &self.heap_limit_bytes)
            .field("memory_limit_bytes", &self.memory_limit_bytes)
            .field("cgroup_percent", &self.cgroup_percent)
            .field("workers", &self.workers)
            .field("background", &self.background)
            .field("collect_every", &self.collect_every)
            .finish_non_exhaustive()
    }
}
