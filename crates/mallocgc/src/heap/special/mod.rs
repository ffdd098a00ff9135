//! Specials: records on objects. Finalizers, cleanups, weak handles, and the
//! samples of the heap profile.
//!
//! A span gets a `table` with its first special: a bit for each cell that
//! has records, and for each cell the head of their list. Attaching is a look
//! into the page table, one uncontended lock, and a few stores. When marking
//! has ended, the dead objects with specials are `special & !mark`, word by
//! word; the living ones cost nothing.
//!
//! A record is keyed by its kind and its address. Several tiny objects of one
//! block, and several places in one object, have records of their own; they
//! all die with the cell.
//!
//! | kind | per address | when the object is unreachable |
//! |---|---|---|
//! | finalizer | one | queued, and the object lives until it has run |
//! | weak | one, shared by all handles | cleared |
//! | cleanup | any number | queued, but not while there was a finalizer |
//! | sample | one | reported |
//! | drop | one | queued, and the cell stays until it has run; not while there was a finalizer |
//!
//! Protection: spans are spread over `STRIPES` stripes, each with a lock
//! over the tables of its spans, their records, and a reserve of free ones.
//! Every method may be called from any thread, if the object is kept alive
//! meanwhile; `for_each_*` and `decide` only while the world is stopped.
//!
//! Not here: running what is queued and what the words mean (`raw`), who is
//! marked (`collect::finalize`).

pub(crate) mod weak_count;
pub(crate) mod record;
pub(crate) mod queue;
mod table;

use crate::base::Address;
use crate::base::sync::{AtomicPtr, AtomicU64, Lock, LockGuard, Ordering::Relaxed, Rank};
use crate::heap::meta::MetaError;
use crate::heap::object::Found;
use crate::heap::space::Space;
use crate::heap::span::{Span, SpanId};
use crate::heap::span_class::Scan;
use core::ptr::NonNull;
use queue::{Chain, Queue};
use record::{FIRST_HANDLE, Kind, Payload, Place, Record, RecordId, Records, Reserve};
use table::{Table, Tables};

pub use queue::QueueCounts;

/// Locks over the specials. Threads allocate from spans of their own, so that
/// a handful keeps them apart.
const STRIPES: usize = 16;

/// Buckets of the records on addresses outside the heap.
const IMMORTAL_BUCKETS: usize = 64;

#[derive(Debug, Default)]
struct Stripe {
    tables: Option<Table>,
    reserve: Reserve,
    finalizers: u64,
    cleanups: u64,
    stopped: u64,
    weak_made: u64,
    weak_cleared: u64,
    samples: u64,
}

#[derive(Debug)]
#[repr(align(64))]
struct Padded(Lock<Stripe>);

#[derive(Debug)]
struct Immortals {
    heads: [Option<RecordId>; IMMORTAL_BUCKETS],
    reserve: Reserve,
}

/// All specials of a heap.
#[derive(Debug)]
pub(crate) struct Specials {
    stripes: [Padded; STRIPES],
    pub(crate) records: Records,
    tables: Lock<Tables>,
    /// Weak records of addresses that are in no object and never die.
    immortals: Lock<Immortals>,
    /// Finalizers whose objects are unreachable.
    pub(crate) finalizers: Queue,
    /// Of those, the ones that the heap's users run at boundaries.
    pub(crate) owned: Queue,
    /// The code of such finalizers' payloads; null while there has been none.
    owned_code: AtomicPtr<()>,
    /// Cleanups whose objects are gone.
    pub(crate) cleanups: Queue,
    /// Objects that are gone, whose payload is to be dropped.
    pub(crate) drops: Queue,
    /// Records put on blocks of tiny objects.
    shared_blocks: AtomicU64,
}

/// Why a record was not attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AttachError {
    /// The object has a finalizer.
    AlreadySet,
    /// No memory for the record.
    Memory(MetaError),
}

impl From<MetaError> for AttachError {
    fn from(error: MetaError) -> AttachError {
        AttachError::Memory(error)
    }
}

/// Names an attached cleanup, for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket {
    record: RecordId,
    ticket: u32,
    span: SpanId,
}

/// Counts of specials since the heap was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpecialCounts {
    /// Finalizers ever set.
    pub finalizers_set: u64,
    /// Finalizers that became due.
    pub finalizers: QueueCounts,
    /// Cleanups ever added.
    pub cleanups_added: u64,
    /// Cleanups stopped before they became due.
    pub cleanups_stopped: u64,
    /// Cleanups that became due.
    pub cleanups: QueueCounts,
    /// Objects, or places in objects, that ever got a weak handle.
    pub weak_made: u64,
    /// Of those, the ones cleared since.
    pub weak_cleared: u64,
    /// Ephemerons whose keys died.
    pub ephemerons_cleared: u64,
    /// Finalizers, cleanups and weak handles put on blocks that tiny objects
    /// may share, and which therefore wait for the whole block.
    pub shared_blocks: u64,
    /// Objects sampled for the heap profile.
    pub samples: u64,
    /// Bytes of memory for records; tables are counted with the heap's other
    /// records.
    pub record_bytes: usize,
}

impl Specials {
    pub(crate) fn new(huge_pages: bool) -> Specials {
        Specials {
            stripes: core::array::from_fn(|_| Padded(Lock::new(Rank::Specials, Stripe::default()))),
            records: Records::new(huge_pages),
            tables: Lock::new(Rank::Records, Tables::new()),
            immortals: Lock::new(
                Rank::Specials,
                Immortals { heads: [None; IMMORTAL_BUCKETS], reserve: Reserve::default() },
            ),
            finalizers: Queue::new(),
            owned: Queue::new(),
            owned_code: AtomicPtr::new(core::ptr::null_mut()),
            cleanups: Queue::new(),
            drops: Queue::new(),
            shared_blocks: AtomicU64::new(0),
        }
    }

    /// Counts a record put on a block that tiny objects may share.
    pub(crate) fn count_shared(&self) {
        // Relaxed: a statistic.
        self.shared_blocks.fetch_add(1, Relaxed);
    }

    #[inline]
    fn stripe(&self, span: SpanId) -> LockGuard<'_, Stripe> {
        self.stripes[span.get() as usize % STRIPES].0.lock()
    }

    /// Sets the finalizer of an object, which is in `found`'s cell.
    pub(crate) fn set_finalizer(
        &self,
        space: &Space,
        found: &Found,
        object: Address,
        payload: Payload,
    ) -> Result<(), AttachError> {
        let mut stripe = self.stripe(found.span);
        let place = Place::new(Kind::Finalizer, object);
        self.attach(&mut stripe, space, found, place, payload, Attach::Once)?;
        stripe.finalizers += 1;
        Ok(())
    }

    /// Lets finalizers with this code go to the queue of those that the heap's users run.
    pub(crate) fn set_owned_code(&self, code: *const ()) {
        // Relaxed: the records that have it come later, and are decided in a stopped world.
        self.owned_code.store(code.cast_mut(), Relaxed);
    }

    /// Who runs a finalizer.
    fn runner_of(&self, payload: &Payload) -> RunBy {
        let owned = self.owned_code.load(Relaxed).cast_const();
        if !owned.is_null() && payload.code == owned { RunBy::Users } else { RunBy::Thread }
    }

    /// Takes the finalizer off an object, if it is one that these run.
    pub(crate) fn clear_finalizer(
        &self,
        space: &Space,
        found: &Found,
        object: Address,
        runner: RunBy,
    ) -> Option<Payload> {
        let mut stripe = self.stripe(found.span);
        let mut table = table_of(space.span(found.span))?;
        let place = Place::new(Kind::Finalizer, object);
        let id = self.find(&table, found.index, place)?;
        if self.runner_of(&self.records.get(id).payload()) != runner {
            return None;
        }
        self.unlink(&mut table, found.index, id);
        let payload = self.records.get(id).payload();
        self.records.give(&mut stripe.reserve, id);
        Some(payload)
    }

    /// Adds a cleanup to an object. With an argument, the payload's second
    /// word is a reference that is a root until the cleanup has run.
    pub(crate) fn add_cleanup(
        &self,
        space: &Space,
        found: &Found,
        object: Address,
        payload: Payload,
        argument: Argument,
    ) -> Result<Ticket, AttachError> {
        let kind = match argument {
            Argument::None => Kind::Cleanup,
            Argument::Second => Kind::CleanupWithArgument,
        };
        let mut stripe = self.stripe(found.span);
        let place = Place::new(kind, object);
        let record = self.attach(&mut stripe, space, found, place, payload, Attach::Always)?;
        stripe.cleanups += 1;
        Ok(Ticket { record, ticket: self.records.get(record).ticket(), span: found.span })
    }

    /// Lets an object's payload be dropped in place when it is unreachable. The
    /// payload of the record says how; its first word is the address of a word
    /// that is cleared when the object is found dead, or zero. Trace functions
    /// look at that word, since what a dead object refers to may be gone.
    pub(crate) fn add_drop(
        &self,
        space: &Space,
        found: &Found,
        payload: Payload,
    ) -> Result<(), AttachError> {
        let mut stripe = self.stripe(found.span);
        let place = Place::new(Kind::Drop, found.object);
        self.attach(&mut stripe, space, found, place, payload, Attach::Once)?;
        Ok(())
    }

    /// Takes a cleanup off its object, if it is still attached.
    pub(crate) fn stop_cleanup(&self, space: &Space, ticket: Ticket) -> Option<Payload> {
        let mut stripe = self.stripe(ticket.span);
        let record = self.records.get(ticket.record);
        // A record leaves its table, and its ticket expires, under this lock.
        if record.ticket() != ticket.ticket {
            return None;
        }
        let found = space.find_cell(record.place().object()).expect("records are on cells");
        debug_assert_eq!(found.span, ticket.span);
        let mut table = table_of(space.span(found.span)).expect("the record is in a table");
        self.unlink(&mut table, found.index, ticket.record);
        let payload = record.payload();
        stripe.stopped += 1;
        self.records.give(&mut stripe.reserve, ticket.record);
        Some(payload)
    }

    /// The weak record of an address, with a handle counted; and whether it
    /// has no other handle.
    pub(crate) fn weak(
        &self,
        space: &Space,
        found: &Found,
        object: Address,
    ) -> Result<(NonNull<Record>, bool), AttachError> {
        let mut stripe = self.stripe(found.span);
        let place = Place::new(Kind::Weak, object);
        if let Some(table) = table_of(space.span(found.span))
            && let Some(id) = self.find(&table, found.index, place)
        {
            let record = self.records.get(id);
            return Ok((NonNull::from(record), record.weak_count().add()));
        }
        let payload = Payload { code: object.as_ptr(), words: FIRST_HANDLE };
        let id = self.attach(&mut stripe, space, found, place, payload, Attach::Always)?;
        stripe.weak_made += 1;
        Ok((NonNull::from(self.records.get(id)), true))
    }

    /// As [`weak`](Specials::weak), for an address that is in no object.
    pub(crate) fn weak_immortal(
        &self,
        address: Address,
    ) -> Result<(NonNull<Record>, bool), AttachError> {
        let mut immortals = self.immortals.lock();
        let Immortals { heads, reserve } = &mut *immortals;
        let place = Place::new(Kind::Weak, address);
        let bucket = &mut heads[(address.as_usize() >> 3) % IMMORTAL_BUCKETS];
        let mut at = *bucket;
        while let Some(id) = at {
            let record = self.records.get(id);
            if record.place() == place {
                return Ok((NonNull::from(record), record.weak_count().add()));
            }
            at = record.next();
        }
        let id = self.records.take(reserve)?;
        let record = self.records.get(id);
        let payload = Payload { code: address.as_ptr(), words: FIRST_HANDLE };
        record.fill(place, payload, *bucket);
        *bucket = Some(id);
        Ok((NonNull::from(record), true))
    }

    /// Notes that an object was sampled for the profile. The numbers come
    /// back when it dies.
    pub(crate) fn add_sample(
        &self,
        space: &Space,
        found: &Found,
        numbers: [u64; 2],
    ) -> Result<(), AttachError> {
        let mut stripe = self.stripe(found.span);
        let place = Place::new(Kind::Sample, found.object);
        let payload = Payload::numbers(numbers);
        self.attach(&mut stripe, space, found, place, payload, Attach::Always)?;
        stripe.samples += 1;
        Ok(())
    }

    /// Counts of everything.
    pub(crate) fn counts(&self) -> SpecialCounts {
        let mut counts = SpecialCounts {
            finalizers: self.finalizers.counts() + self.owned.counts(),
            cleanups: self.cleanups.counts(),
            shared_blocks: self.shared_blocks.load(Relaxed),
            record_bytes: self.records.committed_bytes(),
            ..SpecialCounts::default()
        };
        for stripe in &self.stripes {
            let stripe = stripe.0.lock();
            counts.finalizers_set += stripe.finalizers;
            counts.cleanups_added += stripe.cleanups;
            counts.cleanups_stopped += stripe.stopped;
            counts.weak_made += stripe.weak_made;
            counts.weak_cleared += stripe.weak_cleared;
            counts.samples += stripe.samples;
        }
        counts
    }

    // --- tables ----------------------------------------------------------

    #[inline]
    fn attach(
        &self,
        stripe: &mut Stripe,
        space: &Space,
        found: &Found,
        place: Place,
        payload: Payload,
        attach: Attach,
    ) -> Result<RecordId, AttachError> {
        let span = space.span(found.span);
        let mut table = match table_of(span) {
            Some(table) => table,
            None => self.make_table(stripe, space, found.span)?,
        };
        let head = table.head(found.index);
        if attach == Attach::Once
            && head.is_some()
            && self.find(&table, found.index, place).is_some()
        {
            return Err(AttachError::AlreadySet);
        }
        let id = self.records.take(&mut stripe.reserve)?;
        self.records.get(id).fill(place, payload, head);
        table.set_head(found.index, Some(id));
        table.count(place.is(Kind::CleanupWithArgument));
        if place.is(Kind::Finalizer) {
            table.set_finalizable(found.index, true);
        }
        Ok(id)
    }

    #[cold]
    fn make_table(
        &self,
        stripe: &mut Stripe,
        space: &Space,
        id: SpanId,
    ) -> Result<Table, MetaError> {
        let span = space.span(id);
        let table = self.tables.lock().take(space.meta(), id, span.cells())?;
        table.set_next(stripe.tables);
        stripe.tables = Some(table);
        // Relaxed: read under the lock of the stripe.
        span.specials.store(table.as_raw(), Relaxed);
        Ok(table)
    }

    /// The record of a cell with this place.
    fn find(&self, table: &Table, cell: usize, place: Place) -> Option<RecordId> {
        let mut at = table.head(cell);
        while let Some(id) = at {
            let record = self.records.get(id);
            if record.place() == place {
                return Some(id);
            }
            at = record.next();
        }
        None
    }

    /// Takes a record out of its table.
    fn unlink(&self, table: &mut Table, cell: usize, id: RecordId) {
        let record = self.records.get(id);
        let (mut at, mut before, mut finalizers) = (table.head(cell), None, 0);
        while let Some(other) = at {
            let next = self.records.get(other).next();
            if other == id {
                match before {
                    None => table.set_head(cell, next),
                    Some(before) => self.records.get(before).set_next(next),
                }
            } else {
                finalizers += usize::from(self.records.get(other).place().is(Kind::Finalizer));
                before = Some(other);
            }
            at = next;
        }
        if record.place().is(Kind::Finalizer) && finalizers == 0 {
            table.set_finalizable(cell, false);
        }
        table.uncount(record.place().is(Kind::CleanupWithArgument));
        record.retire_ticket();
    }

    // --- for the collector -----------------------------------------------

    /// Calls `visit` with each unmarked cell whose object has a finalizer and
    /// may refer to others. No lock is held meanwhile, so that `visit` may call
    /// trace functions: the world is stopped.
    pub(crate) fn for_each_finalizable(&self, space: &Space, mut visit: impl FnMut(&Span, usize)) {
        for stripe in &self.stripes {
            let mut at = stripe.0.lock().tables;
            while let Some(table) = at {
                let span = space.span(table.span());
                if table.finalizable() != 0 && space.class_info(span.class()).scan != Scan::None {
                    for word in 0..table.words() {
                        // `visit` may mark more; those are visited once too
                        // often.
                        let unmarked =
                            table.finalizer_word(word) & !space.outliving_word(span, word);
                        for_each_bit(word, unmarked, |cell| visit(span, cell));
                    }
                }
                at = table.next();
            }
        }
    }

    /// Calls `visit` with the other roots: objects of queued finalizers,
    /// arguments of cleanups.
    pub(crate) fn for_each_root(&self, mut visit: impl FnMut(Address)) {
        self.finalizers.for_each_root(&self.records, &mut visit);
        self.owned.for_each_root(&self.records, &mut visit);
        self.cleanups.for_each_root(&self.records, &mut visit);
        self.drops.for_each_root(&self.records, &mut visit);
        for stripe in &self.stripes {
            let stripe = stripe.0.lock();
            let mut at = stripe.tables;
            while let Some(table) = at {
                if table.arguments() != 0 {
                    for word in 0..table.words() {
                        for_each_bit(word, table.special_word(word), |cell| {
                            self.for_each_record(&table, cell, |record| {
                                if let Some(argument) = record.argument() {
                                    visit(argument);
                                }
                            });
                        });
                    }
                }
                at = table.next();
            }
        }
    }

    fn for_each_record(&self, table: &Table, cell: usize, mut visit: impl FnMut(&Record)) {
        let mut at = table.head(cell);
        while let Some(id) = at {
            let record = self.records.get(id);
            at = record.next();
            visit(record);
        }
    }

    /// Everything reachable is marked: decides about the records of what is
    /// not. An object with finalizers is passed to `keep`, which marks it and
    /// need not look at its references.
    pub(crate) fn decide(&self, space: &Space, judge: &mut dyn Judge) -> Decided {
        let mut due = Due::default();
        for stripe in &self.stripes {
            let mut stripe = stripe.0.lock();
            let stripe = &mut *stripe;
            let (mut at, mut kept) = (stripe.tables.take(), None);
            while let Some(mut table) = at {
                at = table.next();
                if table.records() != 0 {
                    self.decide_table(space, &mut table, stripe, &mut due, judge);
                }
                if table.records() == 0 {
                    let span = space.span(table.span());
                    span.specials.store(core::ptr::null_mut(), Relaxed);
                    self.tables.lock().give(table);
                } else {
                    table.set_next(kept);
                    kept = Some(table);
                }
            }
            stripe.tables = kept;
        }
        let decided = Decided {
            finalizers_queued: (due.finalizers.len() + due.owned.len()) as u64,
            cleanups_queued: due.cleanups.len() as u64,
            weak_cleared: due.weak_cleared,
        };
        self.finalizers.append(&self.records, due.finalizers);
        self.owned.append(&self.records, due.owned);
        self.cleanups.append(&self.records, due.cleanups);
        self.drops.append(&self.records, due.drops);
        decided
    }

    fn decide_table(
        &self,
        space: &Space,
        table: &mut Table,
        stripe: &mut Stripe,
        due: &mut Due,
        judge: &mut dyn Judge,
    ) {
        let id = table.span();
        let span = space.span(id);
        for word in 0..table.words() {
            let dead = table.special_word(word) & !space.outliving_word(span, word);
            for_each_bit(word, dead, |cell| {
                table.head(cell).inspect(|&id| self.records.prefetch(id));
            });
            for_each_bit(word, dead, |cell| {
                let keep = table.finalizer_word(word) >> (cell % 64) & 1 != 0;
                let dropped = self.decide_cell(table, cell, keep, stripe, due, judge);
                if keep || dropped {
                    judge.keep(span, cell);
                }
            });
        }
    }

    /// The records of one unreachable cell. If it is kept, only finalizers
    /// and weak handles are decided. Whether its payload is to be dropped, until
    /// when the cell must stay.
    fn decide_cell(
        &self,
        table: &mut Table,
        cell: usize,
        keep: bool,
        stripe: &mut Stripe,
        due: &mut Due,
        judge: &mut dyn Judge,
    ) -> bool {
        let (mut at, mut left) = (table.head(cell), None);
        let mut dropped = false;
        while let Some(id) = at {
            let record = self.records.get(id);
            let place = record.place();
            at = record.next();
            if keep && !place.is(Kind::Finalizer) && !place.is(Kind::Weak) {
                record.set_next(left);
                left = Some(id);
                continue;
            }
            table.uncount(place.is(Kind::CleanupWithArgument));
            record.retire_ticket();
            if place.is(Kind::Finalizer) {
                match self.runner_of(&record.payload()) {
                    RunBy::Thread => due.finalizers.push(&self.records, id),
                    RunBy::Users => due.owned.push(&self.records, id),
                }
            } else if place.is(Kind::Weak) {
                record.clear_weak();
                stripe.weak_cleared += 1;
                due.weak_cleared += 1;
                if record.weak_count().detach() {
                    self.records.give(&mut stripe.reserve, id);
                }
            } else if place.is(Kind::Sample) {
                // SAFETY: the words of a sample are numbers (`Record`,
                // invariant 2).
                judge.sample_freed(unsafe { record.payload().as_numbers() });
                self.records.give(&mut stripe.reserve, id);
            } else if place.is(Kind::Drop) {
                dropped = true;
                record.clear_alive();
                due.drops.push(&self.records, id);
            } else {
                due.cleanups.push(&self.records, id);
            }
        }
        table.set_head(cell, left);
        if keep {
            table.set_finalizable(cell, false);
        }
        dropped
    }

    /// Takes the payloads of all finalizers, cleanups and drops, attached or
    /// queued, and passes them on with their objects, without any lock held. The
    /// heap ends.
    pub(crate) fn drain(&self, mut visit: impl FnMut(Kind, Address, Payload)) {
        let mut visit = |record: &Record| {
            for kind in [Kind::Finalizer, Kind::Cleanup, Kind::CleanupWithArgument, Kind::Drop] {
                if record.place().is(kind) {
                    if kind == Kind::Drop {
                        record.clear_alive();
                    }
                    visit(kind, record.place().object(), record.payload());
                }
            }
        };
        for queue in [&self.finalizers, &self.owned, &self.cleanups, &self.drops] {
            let mut batch = [None];
            while queue.take(&self.records, &mut batch) != 0 {
                batch.iter().flatten().for_each(|&id| visit(self.records.get(id)));
            }
        }
        for stripe in &self.stripes {
            let mut at = stripe.0.lock().tables.take();
            while let Some(table) = at {
                for word in 0..table.words() {
                    for_each_bit(word, table.special_word(word), |cell| {
                        self.for_each_record(&table, cell, &mut visit);
                    });
                }
                at = table.next();
            }
        }
    }
}

/// What the collector does with verdicts.
pub(crate) trait Judge {
    /// Marks a cell whose references are marked.
    fn keep(&mut self, span: &Span, cell: usize);
    /// A sampled object is gone.
    fn sample_freed(&mut self, numbers: [u64; 2]);
}

/// Whether the payload's second word is a root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Argument {
    None,
    Second,
}

/// Who runs finalizers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RunBy {
    /// The heap's thread, or a mutator that is asked to.
    Thread,
    /// The heap's users, at boundaries.
    Users,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attach {
    Always,
    /// Unless the cell has a record of this place.
    Once,
}

/// What becomes due in a cycle.
#[derive(Default)]
struct Due {
    finalizers: Chain,
    owned: Chain,
    cleanups: Chain,
    drops: Chain,
    weak_cleared: u64,
}

/// What a cycle decided.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decided {
    /// Finalizers that became due.
    pub finalizers_queued: u64,
    /// Cleanups that became due.
    pub cleanups_queued: u64,
    /// Weak records cleared.
    pub weak_cleared: u64,
}

/// The table of a span, if it has one. The caller holds the stripe's lock.
#[inline]
fn table_of(span: &Span) -> Option<Table> {
    // Relaxed: written under the lock the caller holds.
    Table::from_raw(span.specials.load(Relaxed))
}

/// Calls `visit` with the number of each set bit of the `word`-th word.
#[inline]
fn for_each_bit(word: usize, mut bits: u64, mut visit: impl FnMut(usize)) {
    while bits != 0 {
        visit(word * 64 + bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

#[cfg(test)]
mod tests;
