//! Sweeping one span: what was not marked is free.
//!
//! No cell is visited. The marks of the last cycle already are the
//! survivors' bits (`Space::flip`); sweeping counts them, clears the other
//! bitmap for the next cycle's marks and rewinds the span. When cells are
//! clobbered for debugging, and only then, the dead ones are written.
//!
//! Protection: who popped the span from its central list owns it. Threads
//! between popping and pushing hold a pass of `Space::sweep_gate`, which a
//! cycle closes (`sweep_gate`).
//!
//! Not here: who sweeps when (`collect::sweep`).

use crate::base::sync::Ordering::{Relaxed, Release};
use crate::base::{Address, PAGE_SHIFT};
use crate::heap::join::Donor;
use crate::heap::newborn;
use crate::heap::space::Space;
use crate::heap::span::{Span, SpanId};
use crate::heap::span_class::SpanClassId;
use crate::os::{self, sanitizer};

/// A span is sparse when at most one cell in so many survives.
const SPARSE_PARTS: usize = 4;

/// Smaller heaps keep their holes: there is little to give back.
const RELEASE_FROM_BYTES: usize = 16 << 20;

/// A donor keeps its holes until so many sweeps in a row have found it sparse.
///
/// A call for 4 KiB takes 2 to 7 microseconds, since other processors must
/// forget the page too; touching it again takes as long.
const DONOR_SWEEPS: u8 = 8;

/// What became of a swept span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Swept {
    /// No object is left: the pages may be given back.
    Empty,
    /// Objects are left.
    Kept,
    /// Few are left, and nobody has allocated from the span for a whole cycle.
    Sparse,
}

impl Space {
    /// Sweeps a span popped from its central list.
    pub(crate) fn sweep_span(&self, id: SpanId) -> Swept {
        let span = self.span(id);
        debug_assert!(self.is_unswept(span));
        let live = self.keep_allocated(span);
        let clobber = self.clobber.load(Relaxed);
        if clobber != 0 {
            self.for_each_dead(span, |cell, bytes| clobber_cell(cell, bytes, clobber));
            span.set_needs_zero(true);
        }
        if sanitizer::POISONS {
            self.for_each_dead(span, sanitizer::poison);
        }
        let freed = (span.taken() - live) as u64;
        if freed != 0 {
            let joined = if span.is_joined() { self.sweep_joins(span) as u64 } else { 0 };
            let size = self.class_info(span.class()).size.index();
            // Release, here and below: pairs with the Acquires in `Heap::stats`.
            self.freed[size].fetch_add(freed - joined, Release);
            if size == 0 {
                self.freed_large_bytes.fetch_add(span.cell_bytes() as u64, Release);
            }
            span.set_needs_zero(true);
        }
        let sparse = span.free_index() == 0 && live * SPARSE_PARTS <= span.cells();
        if sparse && live != 0 {
            let sweeps = span.sparse_sweeps().saturating_add(1);
            span.set_sparse_sweeps(sweeps);
            // Cells that may be joined are left a while to be used so.
            let wanted = Donor::gives(span.class()) && sweeps < DONOR_SWEEPS;
            if !wanted && !span.is_released() {
                self.release_dead_pages(span);
            }
        } else {
            span.set_sparse_sweeps(0);
        }
        self.clear_newborns(span);
        self.clear_claims(span);
        span.set_taken(live);
        span.set_free_index(0);
        span.set_swept(self.sweep_generation());
        self.unswept_spans.fetch_sub(1, Relaxed);
        match live {
            0 => Swept::Empty,
            _ if sparse => Swept::Sparse,
            _ => Swept::Kept,
        }
    }

    /// Counts a span's survivors, and clears its other bitmap for the next
    /// cycle's marks. Until then that says who survived the last but one: with
    /// `free_index`, which cells had been handed out. A mark elsewhere was left
    /// by a reference that points into no object, one past the end of its own
    /// perhaps, and goes. Newborns become survivors (`newborn`).
    ///
    /// Most spans are garbage or were handed out to their end, so words without
    /// a mark and words below `free_index` are not compared.
    fn keep_allocated(&self, span: &Span) -> usize {
        let has_newborns = span.newborn_from().is_some();
        let (mut live, mut stray) = (0, 0);
        let (survivors, before) = (self.survivor_bits(span), self.mark_bits(span));
        let free_index = span.free_index();
        for (word, (survivors, before)) in survivors.iter().zip(before).enumerate() {
            // Relaxed throughout: marks were published when the world was
            // stopped, and the sweeper owns the span.
            let marked = survivors.load(Relaxed);
            if marked != 0 || has_newborns {
                let mut kept = marked;
                if free_index < (word + 1) * 64 {
                    let below = (1 << free_index.saturating_sub(word * 64)) - 1;
                    kept &= before.load(Relaxed) | below;
                    stray += (marked ^ kept).count_ones() as usize;
                }
                if has_newborns {
                    kept |= self.newborn_word(span, word);
                }
                if kept != marked {
                    survivors.store(kept, Relaxed);
                }
                live += kept.count_ones() as usize;
                if has_newborns {
                    newborn::fence_before_forgetting();
                }
            }
            before.store(0, Relaxed);
        }
        if stray != 0 {
            self.live_bytes.fetch_sub((stray * span.cell_bytes()) as u64, Relaxed);
        }
        live
    }

    /// Sweeps one span of `class` and puts it where it belongs; `None` when
    /// the class has no unswept span. Returns the pages given back.
    pub(crate) fn sweep_one(&self, class: SpanClassId) -> Option<usize> {
        let _pass = self.sweep_gate.begin()?;
        let central = self.central(class);
        let id = central.pop_unswept(self)?;
        let pages = self.span(id).pages();
        match self.sweep_span(id) {
            Swept::Empty => {
                self.free_span(id);
                Some(pages)
            }
            Swept::Kept => {
                central.push(self, id);
                Some(0)
            }
            Swept::Sparse => {
                central.push_sparse(self, id);
                Some(0)
            }
        }
    }

    /// Sweeps spans of any class until `pages` have been given back, at most
    /// `spans` spans. Returns the pages given back.
    pub(crate) fn reclaim(&self, pages: usize, mut spans: usize) -> usize {
        let mut freed = 0;
        let classes = self.class_count();
        let mut idle = 0;
        // Relaxed: only a hint where to look next.
        let mut class = self.reclaim_class.load(Relaxed) % classes;
        while freed < pages && spans > 0 && idle < classes {
            // Relaxed: a late answer costs one more look.
            if self.unswept_spans.load(Relaxed) == 0 {
                break;
            }
            match self.sweep_one(SpanClassId::new(class as u16)) {
                Some(given_back) => {
                    freed += given_back;
                    spans -= 1;
                    idle = 0;
                }
                None => {
                    class = (class + 1) % classes;
                    idle += 1;
                }
            }
        }
        self.reclaim_class.store(class, Relaxed);
        freed
    }

    /// Sweeps everything and waits for the sweeps of others.
    pub(crate) fn finish_sweep(&self) {
        // Relaxed: zero cannot be seen early, as sweepers count down. What
        // they wrote is seen once the world has stopped (`close_sweep`).
        while self.unswept_spans.load(Relaxed) != 0 {
            self.reclaim(usize::MAX, usize::MAX);
            std::thread::yield_now();
        }
    }

    /// Keeps everyone from sweeping until [`open_sweep`](Space::open_sweep):
    /// the world is stopped, everything is swept, and the threads of the heap
    /// that are no mutators must not begin with what the cycle leaves.
    pub(crate) fn close_sweep(&self) {
        debug_assert_eq!(self.unswept_spans.load(Relaxed), 0);
        self.sweep_gate.close();
    }

    /// Lets sweeping begin.
    pub(crate) fn open_sweep(&self) {
        self.sweep_gate.open();
    }

    /// Gives back the memory of a sparse span's pages that hold no survivor.
    ///
    /// A span that nobody has allocated from for a whole cycle keeps its
    /// pages for a class of which there are holes enough; in a heap that has
    /// turned to other sizes it would keep them for ever. The cells stay free:
    /// a page touched again reads as zero, and is cleared anyway.
    fn release_dead_pages(&self, span: &Span) {
        let bytes = span.cell_bytes();
        if self.used_bytes() < RELEASE_FROM_BYTES {
            return;
        }
        let survivors = self.survivor_bits(span);
        let survives = |cell: usize| survivors[cell / 64].load(Relaxed) >> (cell % 64) & 1 != 0;
        let page = os::page_size();
        let pages = (span.pages() << PAGE_SHIFT) / page;
        let start = span.base().offset_from(self.base());
        let is_dead = |at: usize| {
            let first = at * page / bytes;
            let last = (((at + 1) * page - 1) / bytes).min(span.cells() - 1);
            !(first..=last).any(survives)
        };
        // A call takes microseconds: it should be worth half the span.
        if (0..pages).filter(|&at| is_dead(at)).count() * 2 < pages {
            return;
        }
        let mut run = 0;
        for at in 0..=pages {
            if at < pages && is_dead(at) {
                run += 1;
                continue;
            }
            if run != 0 {
                // When the system refuses, the pages stay: nothing is lost.
                let _ = self.decommit_holes(start + (at - run) * page, run * page);
                run = 0;
            }
        }
        span.set_released(true);
    }

    /// Calls `act` with each cell of a span that holds no survivor.
    fn for_each_dead(&self, span: &Span, act: impl Fn(Address, usize)) {
        let survivors = self.survivor_bits(span);
        for index in 0..span.cells() {
            if survivors[index / 64].load(Relaxed) >> (index % 64) & 1 == 0 {
                act(span.cell(index), span.cell_bytes());
            }
        }
    }
}

/// Overwrites a dead cell with a pattern.
fn clobber_cell(cell: Address, bytes: usize, pattern: u64) {
    sanitizer::unpoison(cell, bytes);
    for word in 0..bytes / size_of::<u64>() {
        // SAFETY: by invariant 1 of `Span` the word lies in the cell; it is
        // dead and the sweeper owns the span.
        unsafe { cell.as_ptr::<u64>().add(word).write(pattern) };
    }
}
