//! The trace: one line of text per collection, and span lines at level 2.
//!
//! ```text
//! gc 7 @1.204s 3%: 0.021+0.112+1.92+0.310 ms, 2.36 ms stopped, 3.61 ms cpu, 4.20->4.20->3.10 MiB, trigger 4.20 goal 4.80 next 6.20 MiB, 4.80 MiB in 403 spans, 81020 objects, 0.10 MiB roots, 2 finalizers 0 cleanups 5 weak, 3 mutators 2 workers (forced)
//! ```
//!
//! | field | meaning |
//! |---|---|
//! | `gc 7` | number of the cycle in its heap, from 1 |
//! | `@1.204s` | when it began, in seconds since the heap was made |
//! | `3%` | share of the process's CPU time since then that this heap's collector used |
//! | `0.021+…` | milliseconds of finishing the previous sweep (mutators run) … |
//! | `…+0.112+…` | … of waiting for the mutators to stop … |
//! | `…+1.92+…` | … of marking … |
//! | `…+0.310 ms` | … of deciding finalizers, weak handles and cleanups |
//! | `2.36 ms stopped` | milliseconds from asking the mutators to stop until they ran again |
//! | `3.61 ms cpu` | CPU time of marking and deciding, over all workers |
//! | `4.20->4.20->3.10 MiB` | heap at the start, heap when marking ended, live heap |
//! | `trigger 4.20` | heap at which the cycle was to start |
//! | `goal 4.80` | heap it was not to exceed |
//! | `next 6.20 MiB` | goal of the next cycle |
//! | `4.80 MiB in 403 spans` | memory cut into spans after the cycle |
//! | `81020 objects` | objects marked |
//! | `0.10 MiB roots` | root bytes scanned |
//! | `2 finalizers 0 cleanups 5 weak` | queued, queued, cleared by this cycle |
//! | `3 mutators 2 workers` | threads attached, threads that marked |
//! | `beside 0.031+0.012 ms` | only beside the mutators: milliseconds of the first and of the last stop |
//! | `1 rounds` | stops that had mutators go on, since too much was left to mark |
//! | `0.400 ms assists` | processor time of mutators that marked |
//! | `25% of processors` | share of the processors that marking had |
//! | `(forced)` | somebody asked for the cycle |
//! | `9.00 MiB external` | only if there are such: external bytes |
//! | `limit 64.0 MiB` | only if it makes the next goal smaller: the memory limit |
//! | `held 12.0 ms` | only if the cap bit: for so long the cycle was due and put off |
//! | `2.00 MiB scavenged` | only if it is not nothing: given back since the cycle before |
//! | `swept 0.800 ms` | only with eager sweeping: its part of the stopped time, before `(forced)` |
//!
//! A goal or trigger beyond all memory prints as `off`. Numbers have three
//! significant digits, times at most three decimals and sizes at most two.
//!
//! Level 2 adds a line for each size class that has spans, and their sum:
//!
//! ```text
//! gc 7   class    32 B: 12 spans 0.19 MiB, 6144 cells, 3021 live (49%), 1 unswept
//! gc 7   class   large: 3 spans 1.00 MiB, 3 cells, 3 live (100%), 0 unswept
//! gc 7   all classes: 15 spans 1.19 MiB, 6147 cells, 3024 live (49%), 1 unswept
//! ```
//!
//! Formatting goes through `core::fmt` into the writer the caller gives and
//! never allocates, so a line may be printed by a thread that stopped others.

use core::fmt::{self, Display, Formatter, Write};

use crate::base::SIZE_CLASSES;

use super::cycle_record::CycleRecord;

/// A [`CycleRecord`] as its trace line, without the line's end.
///
/// ```
/// use mallocgc::observe::CycleRecord;
///
/// let record = CycleRecord { number: 3, mark_nanos: 1_500_000, ..CycleRecord::default() };
/// let line = record.trace_line().to_string();
/// assert!(line.starts_with("gc 3 @0.000s 0%: 0.000+0.000+1.50+0.000 ms"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TraceLine<'a>(&'a CycleRecord);

impl CycleRecord {
    /// This record as its line of the trace.
    pub fn trace_line(&self) -> TraceLine<'_> {
        TraceLine(self)
    }
}

impl Display for TraceLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let record = self.0;
        write!(
            f,
            "gc {} @{}.{:03}s {:.0}%: {}+{}+{}+{} ms, {} ms stopped, {} ms cpu",
            record.number,
            record.start_nanos / 1_000_000_000,
            record.start_nanos / 1_000_000 % 1000,
            record.gc_cpu_fraction * 100.0,
            Millis(record.finish_sweep_nanos),
            Millis(record.time_to_stop_nanos),
            Millis(record.mark_nanos),
            Millis(record.finalize_nanos),
            Millis(record.stopped_nanos),
            Millis(record.mark_cpu_nanos),
        )?;
        write!(
            f,
            ", {}->{}->{} MiB, trigger {} goal {} next {} MiB, {} MiB in {} spans, {} objects, {} MiB roots",
            Mebibytes(record.heap_start_bytes),
            Mebibytes(record.heap_end_bytes),
            Mebibytes(record.live_bytes),
            Mebibytes(record.trigger_bytes),
            Mebibytes(record.goal_bytes),
            Mebibytes(record.next_goal_bytes),
            Mebibytes(record.spans_bytes),
            record.spans,
            record.marked_objects,
            Mebibytes(record.root_bytes),
        )?;
        write!(
            f,
            ", {} finalizers {} cleanups {} weak, {} mutators {} workers",
            record.finalizers_queued,
            record.cleanups_queued,
            record.weak_cleared,
            record.mutators,
            record.workers,
        )?;
        if let Some(beside) = &record.beside {
            write!(
                f,
                ", beside {}+{} ms, {} rounds, {} ms assists, {:.0}% of processors",
                Millis(beside.flip_nanos),
                Millis(beside.end_nanos),
                beside.rounds,
                Millis(beside.assist_nanos),
                beside.utilization * 100.0,
            )?;
        }
        if record.external_bytes != 0 {
            write!(f, ", {} MiB external", Mebibytes(record.external_bytes))?;
        }
        if record.memory_limit_bytes != 0 {
            write!(f, ", limit {} MiB", Mebibytes(record.memory_limit_bytes))?;
        }
        if record.held_nanos != 0 {
            write!(f, ", held {} ms", Millis(record.held_nanos))?;
        }
        if record.scavenged_bytes != 0 {
            write!(f, ", {} MiB scavenged", Mebibytes(record.scavenged_bytes))?;
        }
        if record.eager_sweep_nanos != 0 {
            write!(f, ", swept {} ms", Millis(record.eager_sweep_nanos))?;
        }
        if record.forced { f.write_str(" (forced)") } else { Ok(()) }
    }
}

/// Nanoseconds shown as milliseconds.
struct Millis(u64);

impl Display for Millis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        three_digits(f, self.0 as f64 / 1e6, 3)
    }
}

/// Bytes shown as mebibytes; what no memory can hold, as `off`.
struct Mebibytes(u64);

impl Display for Mebibytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 >= 1 << 63 {
            return f.write_str("off");
        }
        three_digits(f, self.0 as f64 / (1 << 20) as f64, 2)
    }
}

/// Writes `value` with as many decimals as make three digits, at most `decimals`.
fn three_digits(f: &mut Formatter<'_>, value: f64, decimals: usize) -> fmt::Result {
    // The bounds are where rounding would add a digit.
    let wanted = if value < 0.9995 {
        3
    } else if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    write!(f, "{value:.*}", wanted.min(decimals))
}

/// The spans of one size class at the end of a cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SizeClassSpans {
    /// Bytes of a cell; 0 for the class of large objects.
    pub cell_bytes: u64,
    /// Spans of this class.
    pub spans: u64,
    /// Memory of these spans.
    pub span_bytes: u64,
    /// Cells in them.
    pub cells: u64,
    /// Cells the last cycle found alive, or allocated since.
    pub live_cells: u64,
    /// Spans not swept yet.
    pub unswept_spans: u64,
}

/// [`SizeClassSpans`] for each size class, by the class's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpanStatistics {
    /// The classes; entry 0 is the large objects.
    pub classes: [SizeClassSpans; SIZE_CLASSES],
}

impl SpanStatistics {
    /// Statistics of a heap without spans; cell sizes still to be filled in.
    pub const fn new() -> SpanStatistics {
        const EMPTY: SizeClassSpans = SizeClassSpans {
            cell_bytes: 0,
            spans: 0,
            span_bytes: 0,
            cells: 0,
            live_cells: 0,
            unswept_spans: 0,
        };
        SpanStatistics { classes: [EMPTY; SIZE_CLASSES] }
    }

    /// Sums over all classes (`cell_bytes` is 0).
    pub fn total(&self) -> SizeClassSpans {
        self.classes.iter().fold(SizeClassSpans::default(), |sum, class| SizeClassSpans {
            cell_bytes: 0,
            spans: sum.spans + class.spans,
            span_bytes: sum.span_bytes + class.span_bytes,
            cells: sum.cells + class.cells,
            live_cells: sum.live_cells + class.live_cells,
            unswept_spans: sum.unswept_spans + class.unswept_spans,
        })
    }

    /// Writes the lines of trace level 2 for cycle `number`, each ended.
    pub fn write_trace(&self, number: u64, out: &mut dyn Write) -> fmt::Result {
        let (large, small) = self.classes.split_first().expect("there is a class 0");
        for class in small.iter().filter(|class| class.spans != 0) {
            writeln!(out, "gc {number}   class {:>5} B: {}", class.cell_bytes, SpansLine(class))?;
        }
        if large.spans != 0 {
            writeln!(out, "gc {number}   class   large: {}", SpansLine(large))?;
        }
        writeln!(out, "gc {number}   all classes: {}", SpansLine(&self.total()))
    }
}

impl Default for SpanStatistics {
    fn default() -> SpanStatistics {
        SpanStatistics::new()
    }
}

/// The part of a span line after the class's name.
struct SpansLine<'a>(&'a SizeClassSpans);

impl Display for SpansLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let class = self.0;
        write!(
            f,
            "{} spans {} MiB, {} cells, {} live ({}%), {} unswept",
            class.spans,
            Mebibytes(class.span_bytes),
            class.cells,
            class.live_cells,
            (class.live_cells * 100).checked_div(class.cells).unwrap_or(0),
            class.unswept_spans,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::BesideRecord;

    fn sample() -> CycleRecord {
        CycleRecord {
            beside: None,
            number: 7,
            forced: true,
            start_nanos: 1_204_567_000,
            finish_sweep_nanos: 21_000,
            time_to_stop_nanos: 112_000,
            mark_nanos: 1_920_000,
            finalize_nanos: 310_000,
            stopped_nanos: 2_360_000,
            eager_sweep_nanos: 0,
            mark_cpu_nanos: 3_610_000,
            gc_cpu_fraction: 0.031,
            workers: 2,
            mutators: 3,
            heap_start_bytes: 4_404_019,
            heap_end_bytes: 4_404_019,
            live_bytes: 3_250_585,
            trigger_bytes: 4_400_000,
            goal_bytes: 5_033_164,
            next_goal_bytes: u64::MAX,
            spans_bytes: 503_316_480,
            root_bytes: 104_857,
            marked_objects: 81_020,
            spans: 403,
            finalizers_queued: 2,
            cleanups_queued: 0,
            weak_cleared: 5,
            ..CycleRecord::default()
        }
    }

    #[test]
    fn trace_line_shows_every_field_in_its_place() {
        assert_eq!(
            sample().trace_line().to_string(),
            "gc 7 @1.204s 3%: 0.021+0.112+1.92+0.310 ms, 2.36 ms stopped, 3.61 ms cpu, \
             4.20->4.20->3.10 MiB, trigger 4.20 goal 4.80 next off MiB, 480 MiB in 403 spans, \
             81020 objects, 0.10 MiB roots, 2 finalizers 0 cleanups 5 weak, \
             3 mutators 2 workers (forced)"
        );
        let eager = CycleRecord { forced: false, eager_sweep_nanos: 800_000, ..sample() };
        assert!(eager.trace_line().to_string().ends_with("2 workers, swept 0.800 ms"));
        let beside = BesideRecord {
            flip_nanos: 31_000,
            end_nanos: 12_000,
            rounds: 1,
            assist_nanos: 400_000,
            utilization: 0.25,
        };
        let beside = CycleRecord { beside: Some(beside), ..sample() };
        assert!(beside.trace_line().to_string().ends_with(
            "2 workers, beside 0.031+0.012 ms, 1 rounds, 0.400 ms assists, 25% of processors (forced)"
        ));
        let limited = CycleRecord {
            external_bytes: 9 << 20,
            memory_limit_bytes: 64 << 20,
            held_nanos: 12_000_000,
            scavenged_bytes: 2 << 20,
            ..sample()
        };
        assert!(limited.trace_line().to_string().ends_with(
            "2 workers, 9.00 MiB external, limit 64.0 MiB, held 12.0 ms, 2.00 MiB scavenged (forced)"
        ));
    }

    #[test]
    fn numbers_keep_three_digits_across_magnitudes() {
        let shown = |nanos| Millis(nanos).to_string();
        assert_eq!(shown(0), "0.000");
        assert_eq!(shown(999_400), "0.999");
        assert_eq!(shown(999_500), "1.00");
        assert_eq!(shown(9_994_000), "9.99");
        assert_eq!(shown(9_995_000), "10.0");
        assert_eq!(shown(99_949_000), "99.9");
        assert_eq!(shown(99_950_000), "100");
        assert_eq!(shown(123_456_000_000), "123456");
    }

    #[test]
    fn level_two_lists_the_classes_in_use_and_their_sum() {
        let mut spans = SpanStatistics::new();
        spans.classes[0] = SizeClassSpans {
            spans: 3,
            span_bytes: 1 << 20,
            cells: 3,
            live_cells: 3,
            ..spans.classes[0]
        };
        spans.classes[4] = SizeClassSpans {
            cell_bytes: 32,
            spans: 12,
            span_bytes: 12 << 14,
            cells: 6144,
            live_cells: 3021,
            unswept_spans: 1,
        };
        let mut text = String::new();
        spans.write_trace(7, &mut text).expect("a String takes everything");
        assert_eq!(
            text,
            "gc 7   class    32 B: 12 spans 0.19 MiB, 6144 cells, 3021 live (49%), 1 unswept\n\
             gc 7   class   large: 3 spans 1.00 MiB, 3 cells, 3 live (100%), 0 unswept\n\
             gc 7   all classes: 15 spans 1.19 MiB, 6147 cells, 3024 live (49%), 1 unswept\n"
        );
    }

    #[test]
    fn a_writer_that_fails_is_reported() {
        struct Full;
        impl Write for Full {
            fn write_str(&mut self, _: &str) -> fmt::Result {
                Err(fmt::Error)
            }
        }
        assert!(SpanStatistics::new().write_trace(1, &mut Full).is_err());
        assert!(write!(Full, "{}", sample().trace_line()).is_err());
    }
}
