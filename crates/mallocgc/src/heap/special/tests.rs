//! Random registrations and deaths against a model that is a map.

use super::*;
use crate::base::random::Random;
use crate::base::size_class::SizeClass;
use crate::heap::space::SpaceOptions;
use crate::heap::span_class::SpanClassId;
use std::collections::BTreeMap;

/// What the model knows of a record: its kind and a number of its own.
type Model = BTreeMap<(usize, usize), Vec<(Address, Kind, u64)>>;

struct Bench {
    space: Space,
    spans: Vec<SpanId>,
    model: Model,
    random: Random,
    next: u64,
    tickets: Vec<(Ticket, u64)>,
    samples_freed: Vec<u64>,
}

/// Passes verdicts on to the test.
struct Verdicts<'b> {
    kept: Vec<(Address, usize)>,
    samples: &'b mut Vec<u64>,
}

impl Judge for Verdicts<'_> {
    fn keep(&mut self, span: &Span, cell: usize) {
        self.kept.push((span.base(), cell));
    }

    fn sample_freed(&mut self, numbers: [u64; 2]) {
        assert_eq!(numbers[1], !numbers[0]);
        self.samples.push(numbers[0]);
    }
}

fn payload(number: u64) -> Payload {
    Payload::numbers([number, !number])
}

fn number(payload: Payload) -> u64 {
    // SAFETY: the test registers numbers only.
    let [number, inverse] = unsafe { payload.as_numbers() };
    assert_eq!(inverse, !number);
    number
}

impl Bench {
    fn new(seed: u64) -> Bench {
        let options =
            SpaceOptions { reserve_bytes: 64 << 20, limit_bytes: usize::MAX, huge_pages: false };
        let (space, ()) = Space::new(options, |_| Ok(())).expect("a space");
        let spans = [16, 48, 1024]
            .into_iter()
            .cycle()
            .take(20)
            .map(|size| {
                let class = SpanClassId::no_scan(SizeClass::for_size(size));
                space.make_span(class, 0).expect("a span")
            })
            .collect();
        let random = Random::new(seed);
        let (model, tickets, samples_freed) = Default::default();
        Bench { space, spans, model, random, next: 1, tickets, samples_freed }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.below(end as u64) as usize
    }

    /// A place in one of a few cells, so that records meet.
    fn place(&mut self) -> (Found, Address) {
        let which = self.below(self.spans.len());
        let id = self.spans[which];
        let span = self.space.span(id);
        let (cells, bytes) = (span.cells(), span.cell_bytes());
        let index = match self.below(3) {
            0 => 0,
            1 => cells - 1,
            _ => self.below(cells),
        };
        let cell = self.space.span(id).cell(index);
        let object = cell.add(self.below(3) * 5 % bytes);
        (Found { span: id, index, cell, object: cell, bytes }, object)
    }

    fn cell(&mut self, found: &Found) -> &mut Vec<(Address, Kind, u64)> {
        self.model.entry((found.span.get() as usize, found.index)).or_default()
    }

    fn step(&mut self) {
        let (found, object) = self.place();
        let new = self.next;
        self.next += 1;
        let specials = &self.space.specials;
        match self.random.below(12) {
            0..5 => {
                let result = specials.set_finalizer(&self.space, &found, object, payload(new));
                let records = self.cell(&found);
                let same = |&(at, kind, _): &_| at == object && kind == Kind::Finalizer;
                if records.iter().any(same) {
                    assert_eq!(result, Err(AttachError::AlreadySet));
                } else {
                    assert_eq!(result, Ok(()));
                    records.push((object, Kind::Finalizer, new));
                }
            }
            5 => {
                let cleared = specials
                    .clear_finalizer(&self.space, &found, object, RunBy::Thread)
                    .map(number);
                let records = self.cell(&found);
                let same = |&(at, kind, _): &_| at == object && kind == Kind::Finalizer;
                let expected = records.iter().position(same).map(|i| records.remove(i).2);
                assert_eq!(cleared, expected);
            }
            6 | 7 => {
                let argument =
                    if new.is_multiple_of(2) { Argument::None } else { Argument::Second };
                let ticket =
                    specials.add_cleanup(&self.space, &found, object, payload(new), argument);
                self.tickets.push((ticket.expect("memory"), new));
                self.cell(&found).push((object, Kind::Cleanup, new));
            }
            8 if !self.tickets.is_empty() => {
                let which = self.random.below(self.tickets.len() as u64) as usize;
                let (ticket, registered) = self.tickets[which];
                let stopped = specials.stop_cleanup(&self.space, ticket).map(number);
                let mut found = None;
                for records in self.model.values_mut() {
                    let same =
                        |&(_, kind, number): &_| kind == Kind::Cleanup && number == registered;
                    if let Some(i) = records.iter().position(same) {
                        found = Some(records.remove(i).2);
                    }
                }
                assert_eq!(stopped, found);
            }
            9 => {
                let (record, only) = specials.weak(&self.space, &found, object).expect("memory");
                let number = record.addr().get() as u64;
                let records = self.cell(&found);
                let same = |&&(at, kind, _): &&_| at == object && kind == Kind::Weak;
                match records.iter().find(same) {
                    Some(known) => assert_eq!(known.2, number, "one record a place"),
                    None => records.push((object, Kind::Weak, number)),
                }
                assert!(only, "each handle is dropped at once");
                // SAFETY: the record is in the space's range.
                let count = unsafe { record.as_ref() }.weak_count();
                assert_eq!(count.subtract(), weak_count::LastHandle::LeavesRecord);
            }
            _ => {
                specials.add_sample(&self.space, &found, [new, !new]).expect("memory");
                self.cell(&found).push((found.cell, Kind::Sample, new));
            }
        }
    }

    /// A cycle in which a random half of the cells is marked.
    fn cycle(&mut self) {
        let mut dead = Vec::new();
        for &id in &self.spans {
            let span = self.space.span(id);
            for (word, bits) in self.space.mark_bits(span).iter().enumerate() {
                let marks = self.random.next();
                bits.store(marks, Relaxed);
                for bit in (0..64).filter(|bit| marks >> bit & 1 == 0) {
                    dead.push((id.get() as usize, word * 64 + bit));
                }
            }
        }
        let mut roots = Vec::new();
        self.space.specials.for_each_root(|argument| roots.push(argument.as_usize() as u64));
        roots.sort_unstable();
        let mut expected: Vec<_> = (self.model.values().flatten())
            .filter(|(_, kind, number)| *kind == Kind::Cleanup && !number.is_multiple_of(2))
            .map(|(_, _, number)| !number)
            .collect();
        expected.sort_unstable();
        assert_eq!(roots, expected, "arguments of cleanups are roots");

        let (mut finalizers, mut cleanups, mut samples, mut kept) =
            (vec![], vec![], vec![], vec![]);
        let mut weak_cleared = 0;
        for key in dead {
            let Some(records) = self.model.get_mut(&key) else { continue };
            let keep = records.iter().any(|&(_, kind, _)| kind == Kind::Finalizer);
            if keep {
                kept.push(key);
            }
            records.retain(|&(_, kind, number)| {
                match kind {
                    Kind::Finalizer => finalizers.push(number),
                    Kind::Weak => weak_cleared += 1,
                    _ if keep => return true,
                    Kind::Sample => samples.push(number),
                    _ => cleanups.push(number),
                }
                false
            });
        }
        let mut judge = Verdicts { kept: Vec::new(), samples: &mut self.samples_freed };
        let decided = self.space.specials.decide(&self.space, &mut judge);
        assert_eq!(judge.kept.len(), kept.len(), "each kept once");
        for (base, cell) in judge.kept {
            let page = self.space.page_of(base).expect("in the heap");
            let id = self.space.span_of_page(page).expect("in a span");
            assert!(kept.contains(&(id.get() as usize, cell)));
        }
        assert_eq!(decided.weak_cleared, weak_cleared);
        assert_eq!(decided.finalizers_queued, finalizers.len() as u64);
        assert_eq!(decided.cleanups_queued, cleanups.len() as u64);
        let specials = &self.space.specials;
        check_queue(specials, &specials.finalizers, finalizers);
        check_queue(specials, &specials.cleanups, cleanups);
        self.samples_freed.sort_unstable();
        samples.sort_unstable();
        assert_eq!(core::mem::take(&mut self.samples_freed), samples);
        for &id in &self.spans {
            let span = self.space.span(id);
            let records = (self.model.iter())
                .filter(|((number, _), records)| {
                    *number == id.get() as usize && !records.is_empty()
                })
                .count();
            assert_eq!(table_of(span).is_some(), records != 0, "tables without records go");
            for bits in self.space.mark_bits(span) {
                bits.store(0, Relaxed);
            }
        }
    }
}

/// Takes everything from a queue and gives the records back.
fn check_queue(specials: &Specials, queue: &Queue, mut expected: Vec<u64>) {
    let mut batch = [None; 7];
    let mut seen = Vec::new();
    loop {
        let taken = queue.take(&specials.records, &mut batch);
        if taken == 0 {
            break;
        }
        let ids: Vec<RecordId> = batch[..taken].iter().flatten().copied().collect();
        seen.extend(ids.iter().map(|&id| number(specials.records.get(id).payload())));
        queue.finish(&specials.records, &batch[..taken], taken, 0);
        specials.records.recycle(ids);
    }
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    assert_eq!(queue.counts().pending, 0);
}

#[test]
fn records_agree_with_a_map() {
    for seed in 1..=12 {
        let mut bench = Bench::new(seed);
        for round in 0..30 {
            for _ in 0..200 {
                bench.step();
            }
            bench.cycle();
            assert!(
                bench.space.specials.records.committed_bytes() <= 3 << 16,
                "seed {seed}, round {round}: records are reused"
            );
        }
        let mut left: Vec<_> = bench.model.values().flatten().copied().collect();
        left.retain(|&(_, kind, _)| matches!(kind, Kind::Finalizer | Kind::Cleanup));
        let mut drained = 0;
        bench.space.specials.drain(|_, _, _| drained += 1);
        assert_eq!(drained, left.len(), "seed {seed}: the end passes each once");
    }
}

#[test]
fn unmarked_finalizable_cells_are_visited_and_pointer_free_ones_never() {
    let bench = Bench::new(3);
    let space = &bench.space;
    let mixed = SpanClassId::mixed(SizeClass::for_size(64));
    let ids =
        [space.make_span(mixed, 0).expect("a span"), space.make_span(mixed, 0).expect("a span")];
    let mut expected = Vec::new();
    for (id, step) in [(ids[0], 3), (ids[1], 7), (bench.spans[0], 5)] {
        let span = space.span(id);
        for index in (0..span.cells()).step_by(step) {
            let cell = span.cell(index);
            let found = Found { span: id, index, cell, object: cell, bytes: 64 };
            let first = space.specials.set_finalizer(space, &found, cell, payload(1));
            let second = space.specials.set_finalizer(space, &found, cell.add(1), payload(2));
            assert_eq!((first, second), (Ok(()), Ok(())));
            if id != bench.spans[0] {
                expected.push(cell);
            }
        }
    }
    let marked = space.span(ids[0]).cell(0);
    space.mark_bits(space.span(ids[0]))[0].store(1, Relaxed);
    expected.retain(|&cell| cell != marked);
    let mut visited = Vec::new();
    space.specials.for_each_finalizable(space, |span, cell| visited.push(span.cell(cell)));
    visited.sort_unstable();
    expected.sort_unstable();
    assert_eq!(visited, expected);
}
