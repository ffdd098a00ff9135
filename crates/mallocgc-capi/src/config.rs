//! Settings of a heap.

use crate::error::{Outcome, guard, mallocgc_error, mallocgc_error as Code};
use crate::handle::{Data, store};
use mallocgc::raw::Config;
use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Takes one line of a heap's log, `length` bytes without the newline, not ended by
/// a zero. Called on any thread, perhaps on several at once; it must not enter a heap.
pub type mallocgc_log_fn =
    Option<unsafe extern "C" fn(data: *mut c_void, line: *const c_char, length: usize)>;

/// Settings of a heap. Fill it with mallocgc_config_init and change fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mallocgc_config {
    /// Growth over live bytes, in percent, that starts a cycle; -1 turns automatic
    /// collection off. Default 100.
    pub gc_percent: i64,
    /// Bytes below which no cycle starts at 100 percent. Default 4 MiB.
    pub min_heap_bytes: u64,
    /// Bytes in spans, and external ones, that allocation never exceeds. Default UINT64_MAX: none.
    pub heap_limit_bytes: u64,
    /// Bytes of memory, free pages, tables and external bytes included, that the heap tries not to exceed: it
    /// collects more often before. Default UINT64_MAX: none.
    pub memory_limit_bytes: u64,
    /// A heap with at least so many bytes of objects is marked beside its mutators, which then must use
    /// the write barrier. Heaps with objects of a conservative layout are marked in a stop nevertheless. Default UINT64_MAX: none.
    pub concurrent_from_bytes: u64,
    /// Bytes of address range; 0, the default, lets the heap choose.
    pub reserve_bytes: u64,
    /// How long a cycle waits for a thread that reaches no boundary, in
    /// nanoseconds. Default 1 s.
    pub stop_limit_nanos: u64,
    /// Mean bytes between samples of the heap profile; 0, the default, is none, 1
    /// every allocation.
    pub profile_rate: u64,
    /// Word by which the cells of dead objects are overwritten; 0, the default, for none.
    pub clobber: u64,
    /// Seeds delays in marking beside the program, for tests; 0, the default, is none.
    pub mark_delay_seed: u64,
    /// Percent of the memory limit of the process's control group that are this heap's memory
    /// limit, if that is smaller than memory_limit_bytes; more than 100 count as 100. 0, the default, does not look.
    pub cgroup_percent: u32,
    /// Buckets of the heap profile, one for each stack and size; samples beyond are counted by size
    /// alone. Default 16384.
    pub profile_max_buckets: u32,
    /// Frames of a stack that the heap profile tells apart, at most 128. Default 64.
    pub profile_max_frames: u32,
    /// Threads that mark, at most 256; 0, the default, lets the heap choose.
    pub workers: u32,
    /// Collect at every n-th boundary, for debugging; 0, the default, is never.
    pub collect_every: u32,
    /// 1 prints a line for each cycle, 2 statistics of the spans as well. Default 0.
    pub trace_level: u32,
    /// Whether the heap may start threads of its own: to sweep, to give memory back, to run
    /// finalizers and cleanups. 1 is the default. With 0 the program calls
    /// mallocgc_run_finalizers and mallocgc_run_cleanups.
    pub background: u32,
    /// Whether to ask the system for huge pages. Default 1.
    pub huge_pages: u32,
    /// Whether to check the whole heap after each phase of a cycle. Default 0.
    pub verify: u32,
    /// Where the files of control groups are looked for; null, the default, is "/". Read by mallocgc_heap_new only.
    pub cgroup_root: *const c_char,
    /// Where messages go; null, the default, is standard error.
    pub log: mallocgc_log_fn,
    /// Passed to `log`.
    pub log_data: *mut c_void,
}

/// Fills `config` with the default settings.
///
/// @return mallocgc_error: BAD_ARGUMENT if it is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_config_init(config: *mut mallocgc_config) -> mallocgc_error {
    guard(|| {
        let default = Config::default();
        let value = mallocgc_config {
            gc_percent: default.gc_percent.map_or(-1, i64::from),
            min_heap_bytes: default.min_heap_bytes as u64,
            heap_limit_bytes: default.heap_limit_bytes as u64,
            memory_limit_bytes: default.memory_limit_bytes as u64,
            concurrent_from_bytes: default.concurrent_from_bytes as u64,
            reserve_bytes: default.reserve_bytes as u64,
            stop_limit_nanos: default.stop_limit.as_nanos() as u64,
            profile_rate: default.profile_rate,
            clobber: default.clobber,
            mark_delay_seed: default.mark_delay_seed,
            cgroup_percent: default.cgroup_percent.unwrap_or(0),
            profile_max_buckets: default.profile_max_buckets,
            profile_max_frames: default.profile_max_frames as u32,
            workers: default.workers as u32,
            collect_every: default.collect_every,
            trace_level: default.trace_level,
            background: u32::from(default.background),
            huge_pages: u32::from(default.huge_pages),
            verify: u32::from(default.verify),
            cgroup_root: std::ptr::null(),
            log: None,
            log_data: std::ptr::null_mut(),
        };
        // SAFETY: the caller's promise.
        unsafe { store(config, value) }
    })
}

/// A growth in percent as C gives it.
pub(crate) fn gc_percent(percent: i64) -> Outcome<Option<u32>> {
    match percent {
        -1 => Ok(None),
        _ => u32::try_from(percent).map(Some).map_err(|_| Code::BadArgument),
    }
}

/// A switch as C gives it.
fn switch(value: u32) -> Outcome<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Code::BadArgument),
    }
}

impl mallocgc_config {
    /// The settings as the library takes them.
    ///
    /// # Safety
    ///
    /// `cgroup_root` is null or a text.
    pub(crate) unsafe fn to_config(self) -> Outcome<Config> {
        let cgroup_root = (!self.cgroup_root.is_null()).then(|| {
            // SAFETY: the caller's promise.
            let text = unsafe { CStr::from_ptr(self.cgroup_root) };
            PathBuf::from(OsStr::from_bytes(text.to_bytes()))
        });
        if self.workers > 256 || self.profile_max_frames > 128 {
            return Err(Code::BadArgument);
        }
        let mut config = Config {
            gc_percent: gc_percent(self.gc_percent)?,
            min_heap_bytes: self.min_heap_bytes as usize,
            heap_limit_bytes: self.heap_limit_bytes as usize,
            memory_limit_bytes: self.memory_limit_bytes as usize,
            concurrent_from_bytes: self.concurrent_from_bytes as usize,
            cgroup_percent: (self.cgroup_percent != 0).then_some(self.cgroup_percent),
            cgroup_root,
            mark_delay_seed: self.mark_delay_seed,
            profile_max_buckets: self.profile_max_buckets,
            profile_max_frames: self.profile_max_frames as usize,
            reserve_bytes: self.reserve_bytes as usize,
            huge_pages: switch(self.huge_pages)?,
            workers: self.workers as usize,
            background: switch(self.background)?,
            stop_limit: Duration::from_nanos(self.stop_limit_nanos),
            profile_rate: self.profile_rate,
            collect_every: self.collect_every,
            clobber: self.clobber,
            verify: switch(self.verify)?,
            trace_level: self.trace_level,
            ..Config::default()
        };
        if let Some(log) = self.log {
            let data = Data(self.log_data);
            config.log = Arc::new(move |line: std::fmt::Arguments<'_>| {
                let line = line.to_string();
                // SAFETY: the program's function, with the word it gave.
                unsafe { log(data.get(), line.as_ptr().cast(), line.len()) };
            });
        }
        Ok(config)
    }
}
