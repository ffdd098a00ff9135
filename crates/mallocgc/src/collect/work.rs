//! Grey objects waiting to be scanned: each worker's stack, and what workers
//! share.
//!
//! A stack is a list of segments of [`SEGMENT_ENTRIES`] entries, so that it
//! grows without copying and half a worker's work can be handed over by
//! moving one segment. Segments come from a range of addresses of their own,
//! so that the pages of a deep stack go back to the system when marking ends.
//! When the system has no page for a segment the entry is dropped and the
//! overflow noted; the collector then looks for marked objects again
//! (`mark`), so marking needs no memory to be correct.
//!
//! Protection: a segment belongs to one worker's stack or outbox (`mail`) or,
//! behind the work lock, to the pool.

use crate::base::sync::model::{AtomicU64, AtomicUsize, Lock, Signal};
use crate::base::sync::{Ordering, Rank};
use crate::collect::pending::Pending;
use crate::os::{OsError, Reservation};
use Ordering::Relaxed;
use core::ptr::NonNull;

/// A grey object: its address in the low 48 bits, its span class above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Grey(pub(crate) u64);

impl Grey {
    #[inline(always)]
    pub(crate) fn new(address: usize, class: usize) -> Grey {
        Grey(address as u64 | (class as u64) << 48)
    }

    #[inline(always)]
    pub(crate) fn address(self) -> usize {
        (self.0 & ((1 << 48) - 1)) as usize
    }

    #[inline(always)]
    pub(crate) fn class(self) -> usize {
        (self.0 >> 48) as usize
    }
}

/// Tiny in models, so that a few objects fill several.
const SEGMENT_BYTES: usize = if cfg!(loom) { 256 } else { 16 << 10 };
/// Entries of one segment.
pub(crate) const SEGMENT_ENTRIES: usize = SEGMENT_BYTES / 8 - 2;

/// A block of grey objects, or of candidates.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Segment {
    next: Option<NonNull<Segment>>,
    used: usize,
    entries: [Grey; SEGMENT_ENTRIES],
}

impl Segment {
    /// Puts in a word; `false` when there is no room.
    #[inline(always)]
    pub(crate) fn push(&mut self, bits: u64) -> bool {
        let Some(entry) = self.entries.get_mut(self.used) else { return false };
        *entry = Grey(bits);
        self.used += 1;
        true
    }

    /// The words that were put in.
    pub(crate) fn words(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.entries[..self.used].iter().map(|entry| entry.0)
    }
}

const _: () = assert!(size_of::<Segment>() == SEGMENT_BYTES);

/// Workers that own blocks (`mail`). Others scan only.
pub(crate) const OWNERS_MAX: usize = 64;

/// Owners as bits.
pub(crate) type Owners = u64;

/// The owners of which there are so many, as bits.
fn all_owners(count: usize) -> Owners {
    Owners::MAX >> (OWNERS_MAX - count.clamp(1, OWNERS_MAX))
}

/// What a worker without work is given.
#[derive(Debug)]
pub(crate) enum Work {
    /// Objects to scan.
    Grey(NonNull<Segment>),
    /// Candidates for what it owns.
    Mail(NonNull<Segment>),
}

#[derive(Debug)]
struct Pool {
    /// Segments with work for whoever asks.
    offered: Option<NonNull<Segment>>,
    free: Option<NonNull<Segment>>,
    /// Bytes of the range handed out since the stacks were last given back.
    bumped: usize,
    /// Bytes committed.
    committed: usize,
    /// Workers with nothing to do.
    idle: usize,
    workers: usize,
    /// Candidates for each owner.
    inboxes: [Option<NonNull<Segment>>; OWNERS_MAX],
    /// Owners whose blocks no worker has taken yet.
    unowned: Owners,
}

/// Work shared between the workers of a heap.
///
/// # Invariants
///
/// 1. Segments lie in `memory` below `Pool::bumped`, which is at most
///    `Pool::committed`.
/// 2. A segment is in one stack, in one outbox, in one inbox, in `offered` or in
///    `free`.
/// 3. `mail` has the bits of the inboxes that are not empty; it changes under
///    the lock.
#[derive(Debug)]
pub(crate) struct SharedWork {
    pool: Lock<Pool>,
    changed: Signal,
    /// As `Pool::idle`, read without the lock: whether offering is worth it.
    hungry: AtomicUsize,
    overflowed: AtomicUsize,
    /// For whom there is mail, read without the lock: whether looking is worth it.
    mail: AtomicU64,
    /// Ephemerons scanned while their keys were not marked.
    pub(crate) pending: Pending,
    memory: Reservation,
}

// SAFETY: segments move between threads under the lock (invariant 2).
unsafe impl Send for SharedWork {}
// SAFETY: as for `Send`.
unsafe impl Sync for SharedWork {}

/// Stack memory kept between cycles.
const KEEP_BYTES: usize = 1 << 20;
/// Stack memory there is from the start, so that marking without memory is
/// slow at a few shapes of graphs and not at all of them.
const FIRST_BYTES: usize = if cfg!(loom) { 4096 } else { 4 * SEGMENT_BYTES };

impl SharedWork {
    /// A pool with room for one entry for each 16 bytes of heap, which no
    /// heap needs.
    pub(crate) fn new(heap_bytes: usize) -> Result<SharedWork, OsError> {
        let memory = Reservation::reserve((heap_bytes / 2).max(64 << 20), SEGMENT_BYTES)?;
        memory.commit(0, FIRST_BYTES)?;
        let committed = FIRST_BYTES;
        let pool = Pool {
            offered: None,
            free: None,
            bumped: 0,
            committed,
            idle: 0,
            workers: 1,
            inboxes: [None; OWNERS_MAX],
            unowned: all_owners(1),
        };
        Ok(SharedWork {
            pool: Lock::new(Rank::Work, pool),
            changed: Signal::new(),
            hungry: AtomicUsize::new(0),
            overflowed: AtomicUsize::new(0),
            mail: AtomicU64::new(0),
            pending: Pending::new(),
            memory,
        })
    }

    /// Prepares for marking by this many workers.
    pub(crate) fn begin(&self, workers: usize) {
        self.resume(workers);
        self.overflowed.store(0, Relaxed);
    }

    /// Goes on with another number of workers; nothing is grey.
    pub(crate) fn resume(&self, workers: usize) {
        let mut pool = self.pool.lock();
        debug_assert!(pool.offered.is_none());
        debug_assert!(self.mail.load(Relaxed) == 0);
        pool.workers = workers;
        pool.unowned = all_owners(workers);
        pool.idle = 0;
        self.hungry.store(0, Relaxed);
    }

    /// How many owners there are, and which one a worker is that begins, unless others
    /// have had to take all.
    pub(crate) fn begin_owning(&self) -> (u32, Owners) {
        let mut pool = self.pool.lock();
        let own = pool.unowned & pool.unowned.wrapping_neg();
        pool.unowned &= !own;
        (pool.workers.clamp(1, OWNERS_MAX) as u32, own)
    }

    /// Throws away what was offered: marking begins anew.
    pub(crate) fn discard(&self) {
        loop {
            let Some(segment) = take_offered(&mut self.pool.lock()) else { return };
            self.give_free(segment);
        }
    }

    /// Gives the memory of a deep stack back. No stack is in use.
    pub(crate) fn trim(&self) {
        let mut pool = self.pool.lock();
        if pool.bumped > KEEP_BYTES {
            // Failure keeps the pages; they are used again.
            if self.memory.decommit(0, pool.bumped).is_ok() {
                pool.free = None;
                pool.bumped = 0;
            }
        }
    }

    /// Whether an entry was dropped since the last call.
    pub(crate) fn take_overflow(&self) -> bool {
        self.overflowed.swap(0, Relaxed) != 0
    }

    /// Whether nothing is offered and no mail waits.
    #[cfg(all(test, loom))]
    pub(crate) fn is_empty(&self) -> bool {
        let pool = self.pool.lock();
        pool.offered.is_none() && pool.inboxes.iter().all(Option::is_none)
    }

    /// An entry had to be dropped: marked objects must be looked at again.
    pub(crate) fn note_overflow(&self) {
        self.overflowed.store(1, Relaxed);
    }

    /// Whether a worker waits for work.
    #[inline]
    pub(crate) fn is_hungry(&self) -> bool {
        self.hungry.load(Relaxed) != 0
    }

    /// The owners there is mail for, or was a moment ago.
    #[inline]
    pub(crate) fn mail_for(&self) -> Owners {
        // Relaxed: who sees a bit takes the lock.
        self.mail.load(Relaxed)
    }

    /// Puts candidates into an owner's inbox.
    pub(crate) fn post(&self, owner: usize, segment: NonNull<Segment>) {
        let mut pool = self.pool.lock();
        // SAFETY: the caller gives the segment up.
        unsafe { (*segment.as_ptr()).next = pool.inboxes[owner] };
        pool.inboxes[owner] = Some(segment);
        self.mail.store(self.mail.load(Relaxed) | 1 << owner, Relaxed);
        if pool.idle != 0 {
            // One of them is the owner, perhaps.
            self.changed.notify_all();
        }
    }

    /// Takes one segment out of the inboxes of these owners.
    pub(crate) fn take_mail(&self, owners: Owners) -> Option<NonNull<Segment>> {
        self.take_mail_locked(&mut self.pool.lock(), owners)
    }

    fn take_mail_locked(&self, pool: &mut Pool, owners: Owners) -> Option<NonNull<Segment>> {
        // Relaxed: it changes under the lock (invariant 3).
        let mail = self.mail.load(Relaxed);
        let owner = (mail & owners).trailing_zeros() as usize;
        let segment = (*pool.inboxes.get(owner)?)?;
        // SAFETY: invariant 2. The segments behind it are not the taker's.
        pool.inboxes[owner] = unsafe { (*segment.as_ptr()).next.take() };
        if pool.inboxes[owner].is_none() {
            self.mail.store(mail & !(1 << owner), Relaxed);
        }
        Some(segment)
    }

    pub(crate) fn take_free(&self) -> Option<NonNull<Segment>> {
        let mut pool = self.pool.lock();
        let segment = match pool.free {
            Some(segment) => {
                // SAFETY: invariant 2: a free segment is ours under the lock.
                pool.free = unsafe { segment.as_ref() }.next;
                segment
            }
            None => {
                if pool.bumped == self.memory.bytes() {
                    return None;
                }
                if pool.bumped == pool.committed {
                    self.memory.commit(pool.bumped, SEGMENT_BYTES).ok()?;
                    pool.committed += SEGMENT_BYTES;
                }
                let at = self.memory.base().add(pool.bumped);
                pool.bumped += SEGMENT_BYTES;
                NonNull::new(at.as_ptr())?
            }
        };
        // SAFETY: the segment is ours; all bit patterns are entries.
        unsafe {
            (*segment.as_ptr()).next = None;
            (*segment.as_ptr()).used = 0;
        }
        Some(segment)
    }

    pub(crate) fn give_free(&self, segment: NonNull<Segment>) {
        let mut pool = self.pool.lock();
        // SAFETY: the caller gives the segment up.
        unsafe { (*segment.as_ptr()).next = pool.free };
        pool.free = Some(segment);
    }

    fn offer(&self, segment: NonNull<Segment>) {
        let mut pool = self.pool.lock();
        // SAFETY: the caller gives the segment up.
        unsafe { (*segment.as_ptr()).next = pool.offered };
        pool.offered = Some(segment);
        self.changed.notify_one();
    }

    /// Work of any kind: objects to scan, mail for what the worker owns, or mail
    /// for what nobody owns, which it does from now on.
    fn find_work(&self, pool: &mut Pool, owned: &mut Owners) -> Option<Work> {
        if let Some(segment) = self.take_mail_locked(pool, *owned) {
            return Some(Work::Mail(segment));
        }
        if let Some(segment) = take_offered(pool) {
            return Some(Work::Grey(segment));
        }
        let waiting = self.mail.load(Relaxed) & pool.unowned;
        if waiting == 0 {
            return None;
        }
        let taken = waiting & waiting.wrapping_neg();
        pool.unowned &= !taken;
        *owned |= taken;
        self.take_mail_locked(pool, taken).map(Work::Mail)
    }

    /// Waits for work; `None` when every worker waits and there is none: all
    /// that is reachable is marked.
    pub(crate) fn wait(&self, owned: &mut Owners) -> Option<Work> {
        let mut pool = self.pool.lock();
        if let Some(work) = self.find_work(&mut pool, owned) {
            return Some(work);
        }
        if pool.workers == 1 {
            return None;
        }
        pool.idle += 1;
        self.hungry.store(pool.idle, Relaxed);
        loop {
            // Somebody has been told of what lies in an inbox, and has not yet come for it.
            if pool.idle == pool.workers && self.mail.load(Relaxed) == 0 {
                self.changed.notify_all();
                return None;
            }
            self.changed.wait(&mut pool);
            if let Some(work) = self.find_work(&mut pool, owned) {
                pool.idle -= 1;
                self.hungry.store(pool.idle, Relaxed);
                return Some(work);
            }
        }
    }
}

fn take_offered(pool: &mut Pool) -> Option<NonNull<Segment>> {
    let segment = pool.offered?;
    // SAFETY: invariant 2 of `SharedWork`. The segments behind it are not
    // the taker's.
    pool.offered = unsafe { (*segment.as_ptr()).next.take() };
    Some(segment)
}

/// The open end of a stack: the part that pushing and popping change, so that
/// a loop can keep it in registers.
///
/// # Invariants
///
/// 1. `start..end` are the entries of one segment of the stack, `start <= at
///    <= end`, and those below `at` are in use; all null when there is no
///    segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Top {
    at: *mut Grey,
    start: *mut Grey,
    end: *mut Grey,
}

impl Top {
    const NONE: Top =
        Top { at: core::ptr::null_mut(), start: core::ptr::null_mut(), end: core::ptr::null_mut() };

    /// Puts a grey object into the segment; `false` when it is full.
    #[inline(always)]
    pub(crate) fn push(&mut self, grey: Grey) -> bool {
        if self.at == self.end {
            return false;
        }
        // SAFETY: invariant 1: `at` is below `end`.
        unsafe {
            self.at.write(grey);
            self.at = self.at.add(1);
        }
        true
    }

    /// Takes the last one out of the segment.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<Grey> {
        if self.at == self.start {
            return None;
        }
        // SAFETY: invariant 1: `at` is above `start`.
        unsafe {
            self.at = self.at.sub(1);
            Some(self.at.read())
        }
    }
}

/// One worker's stack of grey objects.
///
/// # Invariants
///
/// 1. `top` is the open end of `segment`.
#[derive(Debug)]
pub(crate) struct Stack<'w> {
    shared: &'w SharedWork,
    pub(crate) top: Top,
    segment: Option<NonNull<Segment>>,
    /// An empty segment, so that a stack swinging about a segment's end does
    /// not go to the pool each time.
    spare: Option<NonNull<Segment>>,
}

impl<'w> Stack<'w> {
    pub(crate) fn new(shared: &'w SharedWork) -> Stack<'w> {
        Stack { shared, top: Top::NONE, segment: None, spare: None }
    }

    /// Puts a grey object on the stack; notes an overflow when there is no
    /// memory for it.
    pub(crate) fn push(&mut self, grey: Grey) {
        if !self.top.push(grey) && self.grow() {
            self.top.push(grey);
        }
    }

    /// Takes the last one off.
    pub(crate) fn pop(&mut self) -> Option<Grey> {
        if let Some(grey) = self.top.pop() {
            return Some(grey);
        }
        if self.shrink() { self.top.pop() } else { None }
    }

    #[cold]
    fn grow(&mut self) -> bool {
        let Some(fresh) = self.spare.take().or_else(|| self.shared.take_free()) else {
            self.shared.note_overflow();
            return false;
        };
        if let Some(full) = self.segment {
            // SAFETY: both segments are this stack's.
            unsafe {
                (*full.as_ptr()).used = SEGMENT_ENTRIES;
                (*fresh.as_ptr()).next = Some(full);
            }
        }
        self.enter(fresh);
        true
    }

    #[cold]
    fn shrink(&mut self) -> bool {
        let Some(empty) = self.segment else { return false };
        // SAFETY: the segment is this stack's.
        let Some(below) = (unsafe { empty.as_ref() }).next else { return false };
        match self.spare {
            None => self.spare = Some(empty),
            Some(_) => self.shared.give_free(empty),
        }
        self.enter(below);
        self.top.at != self.top.start
    }

    fn enter(&mut self, segment: NonNull<Segment>) {
        // SAFETY: the segment is this stack's; `used` is within its entries.
        unsafe {
            let start: *mut Grey = (&raw mut (*segment.as_ptr()).entries).cast();
            self.top = Top {
                at: start.add((*segment.as_ptr()).used),
                start,
                end: start.add(SEGMENT_ENTRIES),
            };
        }
        self.segment = Some(segment);
    }

    fn len_here(&self) -> usize {
        (self.top.at as usize - self.top.start as usize) / size_of::<Grey>()
    }

    /// Hands part of the work to waiting workers.
    #[cold]
    pub(crate) fn share(&mut self) {
        let Some(segment) = self.segment else { return };
        // SAFETY: the segments are this stack's.
        let below = unsafe { segment.as_ref() }.next;
        if let Some(below) = below {
            // SAFETY: as above; `below` leaves the list before it is offered.
            unsafe {
                (*segment.as_ptr()).next = below.as_ref().next;
                (*below.as_ptr()).next = None;
            }
            self.shared.offer(below);
            return;
        }
        let half = self.len_here() / 2;
        if half < 8 {
            return;
        }
        let Some(fresh) = self.shared.take_free() else { return };
        // SAFETY: the lower half moves to the fresh segment, the upper half
        // down; both are this stack's.
        unsafe {
            let target: *mut Grey = (&raw mut (*fresh.as_ptr()).entries).cast();
            core::ptr::copy_nonoverlapping(self.top.start, target, half);
            (*fresh.as_ptr()).used = half;
            let rest = self.len_here() - half;
            core::ptr::copy(self.top.start.add(half), self.top.start, rest);
            self.top.at = self.top.start.add(rest);
        }
        self.shared.offer(fresh);
    }

    /// Hands everything over, before the workers begin.
    pub(crate) fn offer_all(&mut self) {
        if let Some(segment) = self.segment {
            let used = self.len_here();
            // SAFETY: the segment is this stack's.
            unsafe { (*segment.as_ptr()).used = used };
        }
        while let Some(segment) = self.segment {
            // SAFETY: the segments are this stack's.
            self.segment = unsafe { segment.as_ref() }.next;
            self.shared.offer(segment);
        }
        self.top = Top::NONE;
    }

    /// Goes on with a segment of someone else's; the stack is empty.
    pub(crate) fn begin_with(&mut self, segment: NonNull<Segment>) {
        debug_assert!(self.top.at == self.top.start);
        if let Some(empty) = self.segment.take() {
            self.shared.give_free(empty);
        }
        self.enter(segment);
    }

    /// Takes back what it, or a stack before it, has offered; `false` when there is nothing.
    /// For a marker that is alone.
    pub(crate) fn take_back(&mut self) -> bool {
        let taken = take_offered(&mut self.shared.pool.lock());
        taken.inspect(|&segment| self.begin_with(segment)).is_some()
    }
}

impl Drop for Stack<'_> {
    fn drop(&mut self) {
        if let Some(spare) = self.spare {
            self.shared.give_free(spare);
        }
        while let Some(segment) = self.segment {
            // SAFETY: the segments are this stack's.
            self.segment = unsafe { segment.as_ref() }.next;
            self.shared.give_free(segment);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Who takes one of several offered segments must not get at the others.
    #[test]
    fn every_offered_entry_is_taken_once() {
        let shared = SharedWork::new(64 << 20).unwrap();
        shared.begin(1);
        let entries = 5 * SEGMENT_ENTRIES + 7;
        let mut stack = Stack::new(&shared);
        for entry in 0..entries {
            stack.push(Grey(entry as u64));
        }
        stack.offer_all();
        drop(stack);
        let mut seen = vec![0; entries];
        let mut workers = [Stack::new(&shared), Stack::new(&shared)];
        // Both hold a segment while the rest is still offered.
        while workers.each_mut().map(|worker| worker.take_back()).contains(&true) {
            for worker in &mut workers {
                while let Some(grey) = worker.pop() {
                    seen[grey.0 as usize] += 1;
                }
            }
        }
        assert!(seen.iter().all(|&times| times == 1), "{:?}", &seen[..8]);
    }
}
