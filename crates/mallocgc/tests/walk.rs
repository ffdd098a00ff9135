//! Walks see what is there: every root, every object, every reference.

mod support;

use mallocgc::base::random::Random;
use mallocgc::layout::Tracer;
use mallocgc::raw::{AllocFlags, Force, Layout, Mutator, TypeLayout, Walked};
use std::collections::{BTreeMap, BTreeSet};
use support::memory::{Object, link, number, unlink};

/// Reports the words of an object whose number is a multiple of the layout's word.
unsafe fn every_nth(object: *mut u8, size: usize, tracer: &mut Tracer<'_>) {
    for word in (0..size / 8).step_by(tracer.data()) {
        // SAFETY: the word lies in the object.
        tracer.visit(unsafe { object.cast::<*const u8>().add(word).read() });
    }
}

/// What a walk found: roots, and by object its bytes and where its references lead.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    roots: Vec<usize>,
    objects: BTreeMap<usize, BTreeSet<(usize, usize)>>,
}

fn walk(mutator: &Mutator) -> Seen {
    let mut seen = Seen::default();
    let walked = mutator.walk(|walked| match walked {
        Walked::Root(address) => seen.roots.push(address.as_usize()),
        Walked::Object(object) => {
            assert!(mutator.gc(Force::Now).is_err(), "a visitor entered the heap");
            let references = seen.objects.entry(object.address().as_usize()).or_default();
            object.for_each_reference(|offset, target| {
                references.insert((offset, target.as_usize()));
            });
        }
        _ => {}
    });
    walked.expect("the world stops");
    seen
}

#[test]
fn a_walk_agrees_with_the_program() {
    for seed in 0..8 {
        let mut random = Random::new(seed);
        let heap = support::heap();
        let mutator = heap.attach().unwrap();
        // Bytes, layout, every how many words there is a reference; 0 for none. The offset of what
        // a function reports is not told.
        let layout = |layout: &TypeLayout| heap.layout(layout).unwrap();
        let kinds: Vec<(usize, Layout, usize)> = vec![
            (48, Layout::NOSCAN, 0),
            (16, layout(&TypeLayout::mask(2, 0b11)), 1),
            (64, layout(&TypeLayout::mask(8, 0b0101_0101)), 2),
            (1000, layout(&TypeLayout::repeat(1, 1)), 1),
            (40_000, layout(&TypeLayout::repeat(3, 1)), 3),
            (80, layout(&TypeLayout::conservative(80)), 1),
        ];
        let mut model = Seen::default();
        let mut all: Vec<(Object, usize)> = Vec::new();
        for _ in 0..1000 {
            let kind = random.below(kinds.len() as u64) as usize;
            if kind == 4 && random.below(10) != 0 {
                continue;
            }
            let (bytes, layout, _) = kinds[kind];
            let made = mutator.mallocgc(bytes, layout, AllocFlags::NONE).unwrap();
            model.objects.insert(number(made), BTreeSet::new());
            all.push((made, kind));
            for _ in 0..3 {
                let (from, kind) = all[random.below(all.len() as u64) as usize];
                let (bytes, _, every) = kinds[kind];
                let Some(places) = (bytes / 8).checked_div(every) else { continue };
                let word = random.below(places as u64) as usize * every;
                let references = model.objects.get_mut(&number(from)).unwrap();
                references.retain(|&(offset, _)| offset != word * 8);
                match random.below(4) {
                    0 => unlink(&mutator, from, word),
                    _ => {
                        link(&mutator, from, word, made);
                        references.insert((word * 8, number(made)));
                    }
                }
            }
            if random.below(20) == 0 {
                mutator.push_root(made);
                model.roots.push(number(made));
            }
        }
        assert_eq!(walk(&mutator), model, "seed {seed}, nothing collected");
        mutator.gc(Force::Now).unwrap();
        let mut reached = BTreeSet::new();
        let mut grey = model.roots.clone();
        while let Some(object) = grey.pop() {
            if reached.insert(object) {
                grey.extend(model.objects[&object].iter().map(|&(_, target)| target));
            }
        }
        model.objects.retain(|object, _| reached.contains(object));
        assert_eq!(walk(&mutator), model, "seed {seed}, after a collection");
    }
}

#[test]
fn one_trace_function_serves_many_layouts() {
    let heap = support::heap();
    let mutator = heap.attach().unwrap();
    for every in 1..5 {
        // More than share spans with others, and of both kinds of scan.
        let layout = heap.layout(&TypeLayout::trace_with(64, every_nth, every)).unwrap();
        for round in 0..300 {
            let object = mutator.new_object(layout).unwrap();
            let leaves: Vec<Object> = (0..8)
                .map(|_| mutator.mallocgc(32, Layout::NOSCAN, AllocFlags::NONE).unwrap())
                .collect();
            for (word, &leaf) in leaves.iter().enumerate() {
                link(&mutator, object, word, leaf);
            }
            let base = mutator.root_count();
            mutator.push_root(object);
            if round % 60 == 0 {
                mutator.gc(Force::Now).unwrap();
                for (word, &leaf) in leaves.iter().enumerate() {
                    let lives = support::find(&heap, leaf).is_some();
                    assert_eq!(lives, word % every == 0, "every {every}, word {word}");
                }
                let seen = walk(&mutator);
                assert_eq!(seen.objects[&number(object)].len(), 8usize.div_ceil(every));
            }
            mutator.truncate_roots(base);
        }
    }
}

#[test]
fn a_visitor_may_panic_and_a_thread_outside_may_walk() {
    let heap = support::heap();
    let mutator = heap.attach().unwrap();
    let object = mutator.mallocgc(100, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    mutator.push_root(object);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        mutator.walk(|_| panic!("as the test wants it"))
    }));
    assert!(panicked.is_err());
    // The world has gone on.
    mutator.gc(Force::NowAndSweep).unwrap();
    drop(mutator);
    let count = || {
        let mut count = 0;
        heap.walk(|_| count += 1).unwrap();
        count
    };
    // The root is gone, the object not yet.
    assert_eq!(count(), 1);
    heap.gc(Force::Now).unwrap();
    assert_eq!(count(), 0);
}
