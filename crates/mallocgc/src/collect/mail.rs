//! Which of several workers sets which marks, and what they send each other.
//!
//! The heap is cut into blocks of [`BLOCK_PAGES`] pages, and each block has one
//! owner, who alone sets its marks: by a load and a store, a seventh of the
//! time of an atomic OR. Any worker may scan an object; a reference into
//! another's block it sends to the owner, as a candidate, since only the owner
//! knows whether that is marked. What was allocated together lies together, so
//! that of most graphs few references are sent.
//!
//! Candidates are written into an outbox, a segment for each owner, which is
//! posted when it is full, when somebody has nothing to do, and when its
//! writer has nothing else to do. The owner looks for mail when it looks for
//! the hungry.
//!
//! A worker becomes the owner of some blocks when it begins. Whoever runs
//! out of work before all have takes over blocks that mail waits for, so that
//! nobody depends on a thread that has not begun. Ownership is never given
//! back within a drain.
//!
//! Source: work that belongs to a part of the heap and is sent there, Oancea, Mycroft and Watt,
//! "A new approach to parallelising tracing algorithms" (ISMM 2009).
//!
//! Protection: ownership is handed out under the work lock (`work`); an outbox
//! belongs to its writer, an inbox is behind the lock.

use crate::collect::work::{OWNERS_MAX, Owners, Segment, SharedWork, Work};
use core::ptr::NonNull;

/// Pages of the heap that have one owner: 512 KiB, of which the marks are
/// 8 KiB, so that no line of them has two writers. One page in debug builds, so that small
/// heaps have many owners, too.
const BLOCK_PAGES: usize = if cfg!(any(loom, debug_assertions)) { 1 } else { 64 };

/// A word that may lead to an object of its receiver's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Candidate(u64);

/// Above every address: the word may be no reference at all.
const DOUBTFUL: u64 = 1 << 63;

impl Candidate {
    /// What a layout says is a reference.
    #[inline(always)]
    pub(crate) fn reference(value: usize) -> Candidate {
        Candidate(value as u64)
    }

    /// A word that points into the heap and may be no reference.
    #[inline(always)]
    pub(crate) fn word(value: usize) -> Candidate {
        Candidate(value as u64 | DOUBTFUL)
    }

    /// As an entry of a segment.
    pub(crate) fn from_bits(bits: u64) -> Candidate {
        Candidate(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Whether it may be no reference.
    #[inline(always)]
    pub(crate) fn is_doubtful(self) -> bool {
        self.0 & DOUBTFUL != 0
    }

    #[inline(always)]
    pub(crate) fn value(self) -> usize {
        (self.0 & !DOUBTFUL) as usize
    }
}

/// What one worker owns, and what it writes to the others.
///
/// # Invariants
///
/// 1. No two workers of a drain have an owner's bit in `owned`, and none that
///    `SharedWork` still has to give.
/// 2. A segment in `outboxes` is this worker's alone.
#[derive(Debug)]
pub(crate) struct Mail<'w> {
    shared: &'w SharedWork,
    /// Owners among whom the blocks are divided.
    count: u32,
    owned: Owners,
    /// Outboxes that hold something.
    written: Owners,
    outboxes: [Option<NonNull<Segment>>; OWNERS_MAX],
}

impl<'w> Mail<'w> {
    /// For a marker that is alone: everything is its own.
    pub(crate) fn alone(shared: &'w SharedWork) -> Mail<'w> {
        Mail { shared, count: 1, owned: 1, written: 0, outboxes: [None; OWNERS_MAX] }
    }

    /// For one of several workers, which begins now.
    pub(crate) fn of_worker(shared: &'w SharedWork) -> Mail<'w> {
        let (count, owned) = shared.begin_owning();
        Mail { count, owned, ..Mail::alone(shared) }
    }

    /// The owner of the marks of a span that begins at this page.
    #[inline(always)]
    pub(crate) fn owner_of(&self, first_page: usize) -> usize {
        // Fibonacci hashing: neighbouring blocks have different owners.
        let spread = ((first_page / BLOCK_PAGES) as u32).wrapping_mul(0x9e37_79b1);
        ((u64::from(spread) * u64::from(self.count)) >> 32) as usize
    }

    /// Whether this worker sets the marks of the blocks of `owner`.
    #[inline(always)]
    pub(crate) fn owns(&self, owner: usize) -> bool {
        self.owned >> owner & 1 != 0
    }

    /// Whether anything waits for this worker.
    #[inline(always)]
    pub(crate) fn has_arrived(&self) -> bool {
        self.shared.mail_for() & self.owned != 0
    }

    /// Sends a candidate to another worker, sooner or later.
    #[inline(always)]
    pub(crate) fn send(&mut self, owner: usize, candidate: Candidate) {
        debug_assert!(!self.owns(owner));
        if let Some(outbox) = self.outboxes[owner] {
            // SAFETY: invariant 2.
            if unsafe { &mut *outbox.as_ptr() }.push(candidate.bits()) {
                return;
            }
        }
        self.send_into_next(owner, candidate);
    }

    #[cold]
    #[inline(never)]
    fn send_into_next(&mut self, owner: usize, candidate: Candidate) {
        if let Some(full) = self.outboxes[owner].take() {
            self.written &= !(1 << owner);
            self.shared.post(owner, full);
        }
        let Some(fresh) = self.shared.take_free() else {
            // The object is not marked, and will be when all is looked at again.
            return self.shared.note_overflow();
        };
        // SAFETY: the segment is ours and empty.
        unsafe { &mut *fresh.as_ptr() }.push(candidate.bits());
        self.outboxes[owner] = Some(fresh);
        self.written |= 1 << owner;
    }

    /// Posts what has been written.
    #[cold]
    pub(crate) fn post_all(&mut self) {
        while self.written != 0 {
            let owner = self.written.trailing_zeros() as usize;
            self.written &= self.written - 1;
            if let Some(segment) = self.outboxes[owner].take() {
                self.shared.post(owner, segment);
            }
        }
    }

    /// What has arrived first, if anything has.
    #[cold]
    pub(crate) fn take(&mut self) -> Option<NonNull<Segment>> {
        self.shared.take_mail(self.owned)
    }

    /// Waits for work from others; `None` when marking is complete.
    pub(crate) fn wait(&mut self) -> Option<Work> {
        debug_assert!(self.written == 0, "who waits has posted everything");
        self.shared.wait(&mut self.owned)
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use crate::collect::work::{Grey, SEGMENT_ENTRIES, Stack};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// Objects of the graph that is marked.
    const OBJECTS: usize = 52;

    /// Two workers and a graph. Each object is a block of its own.
    struct Model {
        shared: SharedWork,
        children: fn(usize) -> core::ops::Range<usize>,
        /// Read and written by who owns the object: loom reports when another does so
        /// without seeing the write.
        marks: [UnsafeCell<bool>; OBJECTS],
        /// Written by who makes an object grey, and by who scans it, likewise.
        scans: [UnsafeCell<u32>; OBJECTS],
    }

    impl Model {
        fn write(&self, object: usize) {
            // SAFETY: loom checks that nobody else touches it meanwhile.
            self.scans[object].with_mut(|scans| unsafe { *scans += 1 });
        }

        /// As `Marker::visit`.
        fn visit(&self, stack: &mut Stack<'_>, mail: &mut Mail<'_>, object: usize) {
            let owner = mail.owner_of(object);
            if !mail.owns(owner) {
                return mail.send(owner, Candidate::reference(object));
            }
            // SAFETY: loom checks that only the owner gets here.
            let marked =
                self.marks[object].with_mut(|mark| unsafe { core::mem::replace(&mut *mark, true) });
            if !marked {
                self.write(object);
                stack.push(Grey(object as u64));
            }
        }

        fn read_mail(&self, stack: &mut Stack<'_>, mail: &mut Mail<'_>, segment: NonNull<Segment>) {
            // SAFETY: taken out of an inbox.
            for bits in unsafe { segment.as_ref() }.words() {
                self.visit(stack, mail, Candidate::from_bits(bits).value());
            }
            self.shared.give_free(segment);
        }

        /// As `Marker::drain`, with a look around after every fourth object.
        fn drain(&self) {
            let mut stack = Stack::new(&self.shared);
            let mut mail = Mail::of_worker(&self.shared);
            loop {
                while let Some(grey) = stack.pop() {
                    let object = grey.0 as usize;
                    self.write(object);
                    (self.children)(object)
                        .for_each(|child| self.visit(&mut stack, &mut mail, child));
                    if object.is_multiple_of(4) {
                        if mail.has_arrived()
                            && let Some(segment) = mail.take()
                        {
                            self.read_mail(&mut stack, &mut mail, segment);
                        }
                        if self.shared.is_hungry() {
                            mail.post_all();
                            stack.share();
                        }
                    }
                }
                if let Some(segment) = mail.take() {
                    self.read_mail(&mut stack, &mut mail, segment);
                    continue;
                }
                mail.post_all();
                match mail.wait() {
                    Some(Work::Grey(segment)) => stack.begin_with(segment),
                    Some(Work::Mail(segment)) => self.read_mail(&mut stack, &mut mail, segment),
                    None => return,
                }
            }
        }
    }

    /// Marks from these roots with two workers; everything must be scanned once.
    /// All schedules with up to so many preemptions, besides those at a wait.
    fn check(roots: usize, objects: usize, children: fn(usize) -> core::ops::Range<usize>) {
        check_with(3, roots, objects, children);
    }

    fn check_with(
        preemptions: usize,
        roots: usize,
        objects: usize,
        children: fn(usize) -> core::ops::Range<usize>,
    ) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(move || {
            let shared = SharedWork::new(0).unwrap();
            shared.begin(2);
            let scans = core::array::from_fn(|_| UnsafeCell::new(0));
            let marks = core::array::from_fn(|_| UnsafeCell::new(false));
            let model = Arc::new(Model { shared, children, marks, scans });
            {
                let mut stack = Stack::new(&model.shared);
                let mut mail = Mail::alone(&model.shared);
                (0..roots).for_each(|root| {
                    // SAFETY: nobody else has begun.
                    model.marks[root].with_mut(|mark| unsafe { *mark = true });
                    model.write(root);
                    stack.push(Grey(root as u64));
                });
                stack.offer_all();
                mail.post_all();
            }
            let other = model.clone();
            let other = thread::spawn(move || other.drain());
            model.drain();
            other.join().unwrap();
            for object in &model.scans[..objects] {
                // SAFETY: both workers are done.
                assert_eq!(object.with(|scans| unsafe { *scans }), 2, "greyed and scanned once");
            }
            assert!(model.shared.is_empty(), "work was left");
        });
    }

    /// Everybody waits, and nothing is grey: the workers end.
    #[test]
    fn loom_marking_without_roots_ends() {
        check(0, 0, |_| 0..0);
    }

    /// One worker has all the work, in one segment, and hands half over.
    #[test]
    fn loom_a_hungry_worker_gets_half() {
        check(1, 20, |object| if object == 0 { 1..20 } else { 0..0 });
    }

    /// One worker has several segments, and hands one over.
    #[test]
    fn loom_a_hungry_worker_gets_a_segment() {
        check(1, 52, |object| if object == 0 { 1..52 } else { 0..0 });
    }

    /// What was handed over leads to more, which is handed back.
    #[test]
    fn loom_work_goes_to_and_fro() {
        check(1, 36, |object| match object {
            0 => 1..18,
            1 => 18..36,
            _ => 0..0,
        });
    }

    /// Both begin with something, and end together.
    #[test]
    fn loom_two_segments_of_roots() {
        check(SEGMENT_ENTRIES + 1, SEGMENT_ENTRIES + 1, |_| 0..0);
    }

    /// A chain whose objects change owners, and which ends in a circle: the last
    /// mail may come when its receiver already waits.
    #[test]
    fn loom_a_chain_goes_from_owner_to_owner() {
        check(1, 6, |object| if object < 5 { object + 1..object + 2 } else { 0..2 });
    }

    /// Both come to the same objects at the same time: each is claimed once, by its owner.
    #[test]
    fn loom_each_mark_has_one_writer() {
        let last = SEGMENT_ENTRIES;
        assert_eq!(last, 30);
        check(last + 1, last + 4, |object| if object == 0 || object == 30 { 31..34 } else { 0..0 });
    }

    /// An outbox is posted when it is full.
    #[test]
    fn loom_a_full_outbox_is_posted() {
        check_with(2, 2, 52, |object| match object {
            0 | 1 => 2..52,
            _ => 0..0,
        });
    }
}
