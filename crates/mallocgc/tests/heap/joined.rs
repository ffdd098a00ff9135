//! Cells of sparse spans joined to objects of a larger class: to a program they
//! are objects like any other.

use crate::support::memory::{Object, fill, is_filled, link, number, object, unlink};
use crate::support::{self, find, find_at};
use mallocgc::base::SizeClass;
use mallocgc::layout::TypeLayout;
use mallocgc::observe::LiveObjects;
use mallocgc::raw::{AllocFlags, Config, Force, Layout, Mutator};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Places of a herd.
const MOST: usize = 60_000;

/// Objects of one size in an array, which is a root, some of which die.
struct Herd {
    array: Object,
    /// Address and size by place in the array; `None` when dropped.
    places: Vec<Option<(usize, usize)>>,
}

impl Herd {
    fn new(m: &Mutator) -> Herd {
        let layout = m.heap().layout(&TypeLayout::repeat(1, 1)).unwrap();
        let array = m.new_array(layout, MOST).unwrap();
        m.push_root(array);
        Herd { array, places: Vec::new() }
    }

    fn add(&mut self, m: &Mutator, count: usize, size: usize) {
        let align = SizeClass::for_size(size).align();
        for _ in 0..count {
            let made = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
            assert!(is_filled(made, size, 0), "{size} bytes are not zero");
            assert_eq!(number(made) % align, 0, "{size} bytes at {made:?}");
            let place = self.places.len();
            assert!(place < MOST);
            fill(made, size, place as u8);
            link(m, self.array, place, made);
            self.places.push(Some((number(made), size)));
        }
    }

    /// Drops all but every `n`th.
    fn keep_every(&mut self, m: &Mutator, n: usize) {
        for (place, entry) in self.places.iter_mut().enumerate() {
            if place % n != 0 && entry.take().is_some() {
                unlink(m, self.array, place);
            }
        }
    }

    fn check(&self) {
        for (place, entry) in self.places.iter().enumerate() {
            let Some((address, size)) = *entry else { continue };
            assert!(is_filled(object(address), size, place as u8), "{size} bytes of {place}");
        }
    }

    fn live(&self) -> impl Iterator<Item = (usize, usize)> {
        self.places.iter().flatten().copied()
    }
}

/// Two cycles: nobody allocates from a small object's span between them.
fn settle(mutator: &Mutator) {
    for _ in 0..2 {
        mutator.gc(Force::NowAndSweep).unwrap();
    }
}

/// Objects of `size`, a few of which survive, and then of `larger`.
fn fill_holes(m: &Mutator, size: usize, larger: usize) -> Herd {
    let count = support::scaled(400_000 / size);
    let mut herd = Herd::new(m);
    herd.add(m, count, size);
    herd.keep_every(m, 9);
    settle(m);
    herd.add(m, count * size / larger / 2, larger);
    herd.check();
    herd
}

const SIZES: [(usize, usize); 8] =
    [(64, 128), (96, 192), (48, 144), (64, 256), (16, 32), (320, 640), (896, 1792), (1024, 4096)];

#[test]
fn holes_of_one_size_hold_objects_of_another() {
    for (size, larger) in SIZES {
        let heap = support::heap_with(Config { background: false, ..support::manual() });
        let m = heap.attach().unwrap();
        let count = 400_000 / size;
        let mut herd = Herd::new(&m);
        herd.add(&m, count, size);
        herd.keep_every(&m, 9);
        settle(&m);
        let before = heap.stats().heap_inuse;
        herd.add(&m, count / 9, larger);
        herd.check();
        // The spans that the sparse ones left empty were used first.
        assert!(heap.stats().heap_inuse <= before + before / 20, "{size} and {larger}");
        assert_eq!(m.verify().unwrap(), None);
    }
}

#[test]
fn joined_cells_are_one_object_to_lookup() {
    for (size, larger) in SIZES {
        let heap = support::heap();
        let m = heap.attach().unwrap();
        let herd = fill_holes(&m, size, larger);
        for (address, bytes) in herd.live().filter(|it| it.1 == larger) {
            for inner in (0..bytes).step_by(8).chain([bytes - 1]) {
                let found = find_at(&heap, address + inner).expect("every byte is found");
                assert_eq!((found.base.as_usize(), found.bytes), (address, bytes));
            }
        }
    }
}

#[test]
fn joined_cells_live_and_die_together() {
    for (size, larger) in SIZES {
        let heap = support::heap();
        let m = heap.attach().unwrap();
        let mut herd = fill_holes(&m, size, larger);
        for n in [2, 3, 5] {
            herd.keep_every(&m, n);
            m.gc(Force::Now).unwrap();
            herd.check();
            let stats = heap.stats();
            stats.check().unwrap();
            herd.add(&m, 100, size);
            herd.add(&m, 100, larger);
        }
        settle(&m);
        herd.check();
        let stats = heap.stats();
        for bytes in [size, larger] {
            let class = SizeClass::for_size(bytes).index();
            let entry = stats.by_size[class];
            let live = herd.live().filter(|it| it.1 == bytes).count() as u64;
            assert_eq!(entry.mallocs - entry.frees, live, "{bytes} bytes");
        }
        herd.keep_every(&m, usize::MAX);
        unlink(&m, herd.array, 0);
        settle(&m);
        let entry = heap.stats().by_size[SizeClass::for_size(larger).index()];
        assert_eq!(entry.mallocs, entry.frees);
    }
}

#[test]
fn an_inner_pointer_keeps_all_of_a_joined_object() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let mut herd = fill_holes(&m, 64, 256);
    let (address, bytes) = herd.live().last().unwrap();
    m.push_root(object(address + 200));
    herd.keep_every(&m, usize::MAX);
    settle(&m);
    // Whatever is made now is made elsewhere.
    herd.add(&m, 2000, 64);
    assert!(is_filled(object(address), bytes, (herd.places.len() - 2001) as u8));
    assert_eq!(find(&heap, object(address)).unwrap().bytes, bytes);
}

#[test]
fn what_is_attached_to_a_joined_object_is_attached_to_all_of_it() {
    let heap = support::heap_with(Config { background: false, ..support::manual() });
    let mut m = heap.attach().unwrap();
    let mut herd = fill_holes(&m, 96, 192);
    let (address, bytes) = herd.live().last().unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    let finalizer = move |_: &mut Mutator, object: Object| {
        assert_eq!(number(object), address);
        count.fetch_add(1, Relaxed);
    };
    m.set_finalizer(object(address), finalizer).unwrap();
    let (weak, _) = m.weak(object(address + 100)).unwrap();
    herd.keep_every(&m, usize::MAX);
    m.gc(Force::NowAndSweep).unwrap();
    // The finalizer's object is kept whole for its call.
    herd.add(&m, 2000, 96);
    assert_eq!(find_at(&heap, address + 191).unwrap().bytes, bytes);
    assert!(weak.is_cleared());
    m.run_finalizers(usize::MAX);
    assert_eq!(ran.load(Relaxed), 1);
    settle(&m);
    assert!(heap.stats_at_rest().check().is_ok());
}

#[test]
fn a_listener_hears_of_joined_objects_once() {
    let heap = support::heap();
    let live = Arc::new(LiveObjects::new());
    heap.set_listener(Some(live.listener()));
    let m = heap.attach().unwrap();
    let mut herd = fill_holes(&m, 64, 128);
    let bytes = |herd: &Herd| herd.live().map(|it| it.1).sum::<usize>();
    m.gc(Force::Now).unwrap();
    let array = live.bytes() - bytes(&herd);
    for n in [2, 5] {
        herd.keep_every(&m, n);
        m.gc(Force::Now).unwrap();
        assert_eq!(live.bytes(), array + bytes(&herd));
    }
}
