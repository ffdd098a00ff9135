//! Trace lines are formatted without allocating: this program's allocator counts.

use core::fmt::{self, Write};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use mallocgc::observe::{CycleRecord, Histogram, SpanStatistics};

thread_local! {
    /// Calls of this thread to the allocator.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller's promise is the one `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A writer into a fixed buffer.
struct Fixed {
    bytes: [u8; 8192],
    used: usize,
}

impl Write for Fixed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.used + text.len();
        let room = self.bytes.get_mut(self.used..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}

/// Calls to the allocator while `f` runs.
fn calls_during(f: impl FnOnce()) -> usize {
    let before = CALLS.with(Cell::get);
    f();
    CALLS.with(Cell::get) - before
}

#[test]
fn trace_lines_and_recording_do_not_allocate() {
    assert_ne!(calls_during(|| drop(std::hint::black_box(Box::new(1)))), 0, "the counter counts");
    let record = CycleRecord {
        number: u64::MAX,
        forced: true,
        start_nanos: u64::MAX,
        mark_nanos: 123_456_789,
        gc_cpu_fraction: 0.333_333_333,
        heap_start_bytes: u64::MAX / 3,
        next_goal_bytes: u64::MAX,
        external_bytes: 1 << 20,
        memory_limit_bytes: 64 << 20,
        held_nanos: 12_000_000,
        scavenged_bytes: 3 << 20,
        ..CycleRecord::default()
    };
    let mut spans = SpanStatistics::new();
    spans.classes.iter_mut().for_each(|class| class.spans = 3);
    let histogram = Histogram::new();
    let mut out = Fixed { bytes: [0; 8192], used: 0 };
    let calls = calls_during(|| {
        writeln!(out, "{}", record.trace_line()).expect("the buffer is large enough");
        spans.write_trace(record.number, &mut out).expect("the buffer is large enough");
        histogram.record(12_345);
        assert_eq!(histogram.snapshot().max(), 12_345);
    });
    assert_eq!(calls, 0);
    assert!(out.used > 1000, "{} bytes were written", out.used);
}
