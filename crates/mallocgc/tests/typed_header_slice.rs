//! Headers with slices in one object, and handles to types without a size, through the safe interface.

#![forbid(unsafe_code)]

use mallocgc::raw::{AllocError as Cause, Config, Walked};
use mallocgc::typed::{
    AllocError, DynTrace, Gc, GcWeak, HeaderSlice, Heap, Lock, RefLock, Root, SharedHeap,
    SharedLock, Slot, Static, Trace, Unsized, dyn_trace, rootless_mutate, unsize,
};
use std::cell::Cell;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

fn config() -> Config {
    let zeal = std::env::var_os("MALLOCGC_ZEAL").is_some();
    Config {
        reserve_bytes: 8 << 30,
        collect_every: if zeal { 3 } else { 0 },
        clobber: 0xdead_beef_dead_beef,
        verify: zeal,
        ..Config::default()
    }
}

fn heap() -> Heap {
    Heap::new(config()).unwrap()
}

type Number<'gc> = Gc<'gc, u64>;
type Lists<'gc> = HeaderSlice<Mixed<'gc>, [RefLock<Vec<Number<'gc>>>]>;
type Numbers<'gc> = HeaderSlice<Number<'gc>, [Number<'gc>]>;

/// Counts what is dropped.
#[derive(Clone, Default)]
struct Drops(Rc<Cell<usize>>);

impl Drops {
    fn count(&self) -> usize {
        self.0.get()
    }

    fn one(&self) -> Static<Droppable> {
        Static(Droppable(self.clone()))
    }
}

struct Droppable(Drops);

impl Drop for Droppable {
    fn drop(&mut self) {
        self.0.0.set(self.0.count() + 1);
    }
}

/// A value with a reference, and with a part that has a destructor.
#[derive(Trace)]
struct Mixed<'gc> {
    number: Number<'gc>,
    _droppable: Static<Droppable>,
}

#[test]
fn header_and_elements_are_kept_by_masks() {
    let heap = heap();
    for count in [0, 1, 2, 7, 100, 5000] {
        let root: Root<HeaderSlice<Number<'static>, [Number<'static>]>> = heap.run(|cx| {
            let header = Gc::new(cx, 1_000_000);
            cx.root(HeaderSlice::from_fn(cx, header, count, |n| Gc::new(cx, n as u64)))
        });
        for _ in 0..2 {
            heap.collect();
            heap.run(|cx| {
                (0..1000).for_each(|_| _ = Gc::new(cx, u64::MAX));
                let object = root.get(cx);
                assert_eq!((*object.header, object.slice.len()), (1_000_000, count));
                assert!(object.slice.iter().enumerate().all(|(n, number)| **number == n as u64));
            });
        }
    }
    heap.collect();
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
}

/// The references of the one object that has some, and whether its layout is that of pointer-free objects.
fn references_of<R>(
    make: impl for<'gc> Fn(&mallocgc::typed::Cx<'gc>) -> R,
) -> (bool, Vec<usize>, R) {
    let heap = Heap::new(Config { collect_every: 0, ..config() }).unwrap();
    let (plain, root) = heap.run(|cx| (cx.root::<u64>(Gc::new(cx, 1)), make(cx)));
    let mut layouts = std::collections::BTreeSet::new();
    let mut offsets = Vec::new();
    let walk = |walked: Walked<'_>| {
        if let Walked::Object(object) = walked {
            layouts.insert(object.layout().0);
            object.for_each_reference(|offset, _| offsets.push(offset));
        }
    };
    heap.raw().walk(walk).unwrap();
    drop(plain);
    (layouts.len() == 1, offsets, root)
}

#[test]
fn the_layout_is_made_of_the_types() {
    // Pointer-free, whatever is in it.
    let made = references_of(|cx| {
        cx.root::<HeaderSlice<String, [u16]>>(HeaderSlice::from_fn(cx, "a".into(), 9, |n| n as u16))
    });
    assert!(made.0 && made.1.is_empty());
    // A repeated mask behind the header's.
    let made = references_of(|cx| {
        let (number, other) = (Gc::new(cx, 1), Gc::new(cx, 2));
        type Of = HeaderSlice<(u64, Number<'static>), [(Number<'static>, u64)]>;
        cx.root::<Of>(HeaderSlice::from_fn(cx, (5, number), 3, |_| (other, 7)))
    });
    let mut offsets = made.1;
    offsets.sort_unstable();
    // Fields of tuples lie where the compiler likes.
    assert_eq!(offsets.len(), 4);
    assert!(offsets[0] < 16 && offsets[1] / 16 == 1);
    assert!(offsets.windows(3).skip(1).all(|three| three[2] - three[1] == 16), "{offsets:?}");
    // A header with references before bytes.
    let made = references_of(|cx| {
        let header = (Gc::new(cx, 1), Gc::new(cx, 2));
        type Of = HeaderSlice<(Number<'static>, Number<'static>), [u8]>;
        cx.root::<Of>(HeaderSlice::copy_from_slice(cx, header, &[0xff; 301]))
    });
    assert_eq!(made.1, [0, 8]);
    // A header of no whole words before references; and without a header.
    let made = references_of(|cx| {
        let number = Gc::new(cx, 1);
        type Of = HeaderSlice<u8, [Number<'static>]>;
        cx.root::<Of>(HeaderSlice::from_fn(cx, 1, 2, |_| number))
    });
    assert_eq!(made.1, [8, 16]);
    let made = references_of(|cx| {
        let number = Gc::new(cx, 1);
        cx.root::<HeaderSlice<(), [Number<'static>]>>(HeaderSlice::from_fn(cx, (), 2, |_| number))
    });
    assert_eq!(made.1, [0, 8]);
    // By function: a vector in the elements.
    let made = references_of(|cx| {
        let number = Gc::new(cx, 1);
        type Of = HeaderSlice<Number<'static>, [Vec<Number<'static>>]>;
        cx.root::<Of>(HeaderSlice::from_fn(cx, number, 3, |n| vec![number; n]))
    });
    assert_eq!(made.1, [0; 4]);
}

#[test]
fn a_header_before_elements_that_need_more_than_a_mask_can_say() {
    #[derive(Clone, Copy, Trace)]
    struct Long<'gc> {
        _numbers: [u64; 50],
        last: Number<'gc>,
    }
    let heap = heap();
    type Of = HeaderSlice<Long<'static>, [Long<'static>]>;
    let root: Root<Of> = heap.run(|cx| {
        let long = |n| Long { _numbers: [3; 50], last: Gc::new(cx, n) };
        cx.root(HeaderSlice::from_fn(cx, long(100), 20, |n| long(n as u64)))
    });
    heap.collect();
    heap.run(|cx| {
        (0..1000).for_each(|_| _ = Gc::new(cx, u64::MAX));
        let object = root.get(cx);
        assert_eq!(*object.header.last, 100);
        assert!(object.slice.iter().enumerate().all(|(n, long)| *long.last == n as u64));
    });
}

#[test]
fn destructors_of_header_and_elements_run_once() {
    let heap = heap();
    let drops = Drops::default();
    for count in [0, 1, 5, 1000] {
        let before = drops.count();
        heap.run(|cx| {
            // Without references, with some, and with only the one or the other dropped.
            HeaderSlice::from_fn(cx, drops.one(), count, |_| drops.one());
            let mixed = || Mixed { number: Gc::new(cx, 1), _droppable: drops.one() };
            HeaderSlice::from_fn(cx, mixed(), count, |_| mixed());
            HeaderSlice::from_fn(cx, mixed(), count, |n| n as u64);
            HeaderSlice::from_fn(cx, Gc::new(cx, 1), count, |_| drops.one());
        });
        heap.collect();
        assert_eq!(drops.count() - before, 3 + 4 * count - count, "{count}");
    }
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
}

#[test]
fn objects_with_destructors_keep_what_they_refer_to_and_may_be_dead_for_a_cycle() {
    let heap = heap();
    let drops = Drops::default();
    type Of = HeaderSlice<Mixed<'static>, [Mixed<'static>]>;
    let root: Root<Of> = heap.run(|cx| {
        let mixed = |n| Mixed { number: Gc::new(cx, n), _droppable: drops.one() };
        cx.root(HeaderSlice::from_fn(cx, mixed(100), 10, |n| mixed(n as u64)))
    });
    heap.collect();
    heap.run(|cx| {
        (0..1000).for_each(|_| _ = Gc::new(cx, u64::MAX));
        let object = root.get(cx);
        assert_eq!(*object.header.number, 100);
        assert!(object.slice.iter().enumerate().all(|(n, mixed)| *mixed.number == n as u64));
    });
    assert_eq!((drops.count(), heap.raw().stats().heap_objects > 11), (0, true));
    drop(root);
    heap.collect();
    assert_eq!(drops.count(), 11);
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
}

#[test]
fn nothing_and_values_without_bytes_have_objects() {
    /// No bytes, and a destructor.
    struct Ghost;
    thread_local!(static GHOSTS: Cell<usize> = const { Cell::new(0) });
    impl Drop for Ghost {
        fn drop(&mut self) {
            GHOSTS.set(GHOSTS.get() + 1);
        }
    }
    let heap = heap();
    let empty: Root<HeaderSlice<(), [u64]>> =
        heap.run(|cx| cx.root(HeaderSlice::from_fn(cx, (), 0, |_| 0u64)));
    let units: Root<HeaderSlice<u8, [()]>> =
        heap.run(|cx| cx.root(HeaderSlice::copy_from_slice(cx, 7, &[(); 1 << 40])));
    heap.run(|cx| {
        HeaderSlice::from_fn(cx, Static(Ghost), 0, |_| 0u64);
        HeaderSlice::from_fn(cx, (), 3, |_| Static(Ghost));
        HeaderSlice::from_fn(cx, Gc::new(cx, 1u64), 3, |_| Static(Ghost));
        HeaderSlice::from_fn(cx, Static(Ghost), 0, |_| Static(Ghost));
    });
    heap.collect();
    assert_eq!(GHOSTS.get(), 1 + 3 + 3 + 1);
    heap.run(|cx| {
        assert!(empty.get(cx).slice.is_empty());
        assert_eq!((units.get(cx).header, units.get(cx).slice.len()), (7, 1 << 40));
        // No header, so that the elements would begin behind the object.
        let none: Gc<'_, HeaderSlice<Vec<Number<'_>>, [Number<'_>]>> =
            HeaderSlice::from_iter(cx, vec![Gc::new(cx, 1)], []);
        let slice = Gc::slice(none);
        assert!(slice.is_empty() && *none.header[0] == 1);
        let weak = Gc::downgrade(cx, slice);
        assert!(weak.upgrade(cx).unwrap().is_empty());
    });
    drop((empty, units));
    heap.collect();
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
}

#[test]
fn every_alignment_is_kept_with_and_without_references() {
    macro_rules! aligned {
        ($($align:literal)*) => {$({
            #[derive(Clone, Copy, Trace)]
            #[repr(align($align))]
            struct Plain(u8);
            #[derive(Trace)]
            #[repr(align($align))]
            struct Traced<'gc>(RefLock<Vec<Number<'gc>>>);
            let check = |place: usize| assert!(place.is_multiple_of($align), "{}", $align);
            let heap = heap();
            let root: Root<HeaderSlice<Traced<'static>, [Traced<'static>]>> = heap.run(|cx| {
                let plain = HeaderSlice::copy_from_slice(cx, 3u8, &[Plain(5); 3]);
                check(&raw const plain.slice as *const Plain as usize);
                assert!(plain.header == 3 && plain.slice.iter().all(|plain| plain.0 == 5));
                let first = HeaderSlice::from_fn(cx, Plain(1), 3, |n| n as u8);
                check(&raw const first.header as usize);
                assert_eq!((first.header.0, &first.slice), (1, &[0, 1, 2][..]));
                let masked = HeaderSlice::from_fn(cx, Plain(9), 5, |n| Gc::new(cx, n as u64));
                check(&raw const masked.header as usize);
                assert_eq!(masked.slice.iter().map(|number| **number).sum::<u64>(), 10);
                let traced = |n| Traced(RefLock::new(vec![Gc::new(cx, n)]));
                let object = HeaderSlice::from_fn(cx, traced(0), 2, |n| traced(n as u64 + 1));
                check(&raw const object.header as usize);
                cx.root(object)
            });
            heap.collect();
            heap.run(|cx| {
                (0..1000).for_each(|_| _ = Gc::new(cx, u64::MAX));
                let object = root.get(cx);
                assert_eq!(*object.header.0.borrow()[0], 0);
                assert_eq!(*object.slice[1].0.borrow()[0], 2);
            });
        })*};
    }
    aligned!(1 2 4 8 16 32 64 128 256 512 1024 2048 4096);
}

#[test]
fn an_alignment_beyond_a_page_is_an_error() {
    #[derive(Clone, Copy, Trace)]
    #[repr(align(8192))]
    struct Wide;
    rootless_mutate(|cx| {
        for elements in [&[][..], &[Wide; 2][..]] {
            let made = HeaderSlice::try_copy_from_slice(cx, (), elements);
            let made = made.map(|_| ()).unwrap_err();
            assert_eq!(made, AllocError::Failed(Cause::BadAlign { align: 8192 }));
        }
    });
}

#[test]
fn what_has_no_size_or_no_room_is_an_error_and_dropped() {
    let heap =
        Heap::new(Config { heap_limit_bytes: 8 << 20, collect_every: 0, ..config() }).unwrap();
    let drops = Drops::default();
    heap.run(|cx| {
        for count in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8] {
            let made = HeaderSlice::try_from_fn(cx, drops.one(), count, |_| 0u64);
            let Err(AllocError::Failed(Cause::TooLarge { .. })) = made.map(|_| ()) else {
                panic!("{count}");
            };
        }
        let units = [(); usize::MAX];
        let made = HeaderSlice::try_copy_from_slice(cx, Gc::new(cx, 1u64), &units);
        assert!(matches!(made.map(|_| ()), Err(AllocError::Failed(Cause::TooLarge { .. }))));
        let made = HeaderSlice::try_from_iter(cx, drops.one(), std::iter::repeat_n(0u8, 16 << 20));
        let made = made.map(|_| ()).unwrap_err();
        assert!(matches!(made, AllocError::Failed(Cause::LimitReached { .. })), "{made:?}");
    });
    assert_eq!(drops.count(), 4);
    // Full of garbage: a boundary helps.
    let fill = heap.run(|cx| {
        loop {
            let made = HeaderSlice::try_from_fn(cx, (), 100, |n| Gc::try_new(cx, n).ok());
            if let Err(error) = made {
                return error;
            }
        }
    });
    assert!(matches!(fill, AllocError::NeedsBoundary(_)), "{fill:?}");
    heap.run(|cx| assert!(HeaderSlice::try_from_fn(cx, (), 100, |n| n).is_ok()));
}

#[test]
fn a_panic_half_way_drops_what_was_made_and_the_heap_goes_on() {
    let heap = heap();
    let drops = Drops::default();
    for stop_at in [0, 1, 5] {
        let before = drops.count();
        let result = catch_unwind(AssertUnwindSafe(|| {
            heap.run(|cx| {
                let mixed = |n| Mixed { number: Gc::new(cx, n), _droppable: drops.one() };
                HeaderSlice::from_fn(cx, mixed(0), 9, |n| {
                    assert_ne!(n, stop_at, "half way");
                    // Allocates meanwhile, other objects of the kind too.
                    HeaderSlice::from_fn(cx, Gc::new(cx, 1), 3, |n| n);
                    mixed(n as u64)
                });
            })
        }));
        assert!(result.is_err());
        assert_eq!(drops.count() - before, 1 + stop_at);
    }
    // Lies about its length.
    struct Liar<I>(I, usize);
    impl<I: Iterator> Iterator for Liar<I> {
        type Item = I::Item;
        fn next(&mut self) -> Option<I::Item> {
            self.0.next()
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.1, Some(self.1))
        }
    }
    impl<I: Iterator> ExactSizeIterator for Liar<I> {}
    let before = drops.count();
    let short = || heap.run(|cx| _ = HeaderSlice::from_iter(cx, drops.one(), Liar(0..3, 4)));
    assert!(catch_unwind(AssertUnwindSafe(short)).is_err());
    assert_eq!(drops.count(), before + 1);
    // Of too many the first are taken.
    heap.run(|cx| assert_eq!(HeaderSlice::from_iter(cx, (), Liar(0..9, 4)).slice, [0, 1, 2, 3]));
    heap.collect();
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
    assert_eq!(drops.count(), before + 1);
}

#[test]
fn cells_in_both_parts_are_written_while_the_heap_is_marked() {
    #[derive(Trace)]
    struct Header<'gc> {
        slot: Slot<Number<'gc>>,
        list: RefLock<Vec<Number<'gc>>>,
    }
    type Of<'gc> = HeaderSlice<Header<'gc>, [Lock<(u64, Number<'gc>)>]>;
    let seed = 7;
    let heap = Heap::new(Config {
        concurrent_from_bytes: 0,
        mark_delay_seed: seed,
        min_heap_bytes: 64 << 10,
        ..config()
    })
    .unwrap();
    let root: Root<Of<'static>> = heap.run(|cx| {
        let number = Gc::new(cx, 0);
        let header = Header { slot: Slot::new(number), list: RefLock::default() };
        let object: Gc<'_, Of<'_>> =
            HeaderSlice::from_fn(cx, header, 20, |_| Lock::new((0, number)));
        cx.root(object)
    });
    for round in 1..2000u64 {
        heap.run(|cx| {
            let object = root.get(cx);
            let header = Gc::header(object);
            // What was in one place goes to another, so that the barrier alone keeps it.
            let old = header.slot.get();
            assert_eq!(*old, round - 1);
            let place = &object.slice[round as usize % 20];
            let (sum, number) = place.get();
            assert_eq!(sum, *number);
            place.set(cx, (*old, old));
            let mut list = header.list.borrow_mut(cx);
            list.push(number);
            if list.len() > 10 {
                assert!(list.drain(..).all(|number| *number < round));
            }
            header.slot.set(cx, Gc::new(cx, round));
            (0..50).for_each(|_| _ = Gc::new(cx, u64::MAX));
        });
    }
    heap.collect();
    assert!(heap.raw().stats().num_gc > 0);
}

#[test]
fn parts_keep_the_whole() {
    let heap = heap();
    let drops = Drops::default();
    let (header, slice, element) = heap.run(|cx| {
        let make = || HeaderSlice::from_fn(cx, (drops.one(), 5u64), 4, |n| n as u64);
        let element = Gc::map(Gc::slice(make()), |slice| &slice[3]);
        (
            cx.root::<u64>(Gc::map(Gc::header(make()), |header| &header.1)),
            cx.root::<[u64]>(Gc::slice(make())),
            cx.root::<u64>(element),
        )
    });
    heap.collect();
    heap.run(|cx| {
        (0..1000).for_each(|_| _ = Gc::new(cx, u64::MAX));
        assert_eq!((*header.get(cx), &*slice.get(cx), *element.get(cx)), (5, &[0, 1, 2, 3][..], 3));
    });
    assert_eq!(drops.count(), 0);
    drop((header, slice, element));
    heap.collect();
    assert_eq!(drops.count(), 3);
}

trait Speaks<'gc>: DynTrace<'gc> {
    fn speak(&self) -> u64;
}
dyn_trace!(dyn Speaks<'gc>);

#[derive(Trace)]
struct Voice<'gc>(Number<'gc>);
impl<'gc> Speaks<'gc> for Voice<'gc> {
    fn speak(&self) -> u64 {
        *self.0
    }
}

#[test]
fn handles_keep_objects_of_no_size() {
    let heap = heap();
    let (slice, text, empty, voice, shown, named, array) = heap.run(|cx| {
        let voice = unsize!(Gc::new(cx, Voice(Gc::new(cx, 9))) => dyn Speaks<'_> + '_);
        let shown = unsize!(Gc::new(cx, vec![1, 2]) => dyn Debug);
        let array = HeaderSlice { header: 1u8, slice: [Gc::new(cx, 3), Gc::new(cx, 4)] };
        (
            cx.root::<[Gc<'static, u64>]>(Gc::from_iter(
                cx,
                (0..5).map(|n: u32| Gc::new(cx, n.into())),
            )),
            cx.root::<str>(Gc::from_str(cx, "text")),
            cx.root::<str>(Gc::from_str(cx, "")),
            cx.root::<dyn Speaks<'static>>(voice),
            cx.root::<Unsized<dyn Debug>>(shown),
            cx.root::<HeaderSlice<u64, str>>(HeaderSlice::from_str(cx, 1, "name")),
            cx.root::<HeaderSlice<u8, [Number<'static>]>>(
                unsize!(Gc::new(cx, array) => HeaderSlice<u8, [Number<'_>]>),
            ),
        )
    });
    let copies = (slice.clone(), voice.clone());
    drop((slice, voice));
    for _ in 0..2 {
        heap.collect();
        heap.run(|cx| {
            (0..1000).for_each(|_| _ = Gc::new(cx, u64::MAX));
            let sum = copies.0.get(cx).iter().map(|number| **number).sum::<u64>();
            assert_eq!((sum, copies.1.get(cx).speak()), (10, 9));
            assert_eq!((&*text.get(cx), &*empty.get(cx)), ("text", ""));
            assert_eq!(format!("{:?}", shown.get(cx)), "[1, 2]");
            let named = named.get(cx);
            assert_eq!((named.header, &named.slice), (1, "name"));
            assert_eq!((array.get(cx).header, *array.get(cx).slice[1]), (1, 4));
        });
    }
    let other = self::heap();
    assert!(other.run(|cx| text.try_get(cx).is_none()));
    drop((copies, text, empty, shown, named, array));
    heap.collect();
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
}

#[test]
fn a_handle_to_a_slice_is_sent_to_another_thread() {
    let heap = SharedHeap::new(config()).unwrap();
    type Of = HeaderSlice<SharedLock<Vec<Number<'static>>>, [Slot<Number<'static>>]>;
    let mutator = heap.attach().unwrap();
    let root: Root<Of> = mutator.run(|cx| {
        let slots = |n| Slot::new(Gc::new(cx, n as u64));
        cx.root(HeaderSlice::from_fn(cx, SharedLock::new(Vec::new()), 8, slots))
    });
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (heap, root) = (&heap, root.clone());
            scope.spawn(move || {
                let mutator = heap.attach().unwrap();
                for round in 0..200 {
                    mutator.run(|cx| {
                        let object = root.get(cx);
                        let number = Gc::new(cx, 1000 * thread + round);
                        object.slice[round as usize % 8].set(cx, number);
                        object.header.write(cx).push(number);
                    });
                }
            });
        }
    });
    mutator.collect();
    mutator.run(|cx| {
        let object = root.get(cx);
        let mut all: Vec<u64> = object.header.read().iter().map(|number| **number).collect();
        all.sort_unstable();
        let expected = (0..3).flat_map(|thread| (0..200).map(move |n| 1000 * thread + n));
        assert!(all.into_iter().eq(expected));
        assert!(object.slice.iter().all(|slot| *slot.get() % 1000 >= 192));
    });
}

#[test]
fn random_objects_are_like_vectors() {
    let zeal = std::env::var_os("MALLOCGC_ZEAL").is_some();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    #[derive(Trace)]
    struct Entry<'gc> {
        object: Option<Gc<'gc, Numbers<'gc>>>,
        weak: Option<GcWeak<'gc, Numbers<'gc>>>,
        text: Option<Gc<'gc, HeaderSlice<u32, str>>>,
        mixed: Option<Gc<'gc, Lists<'gc>>>,
    }
    let heap = Heap::new(Config { min_heap_bytes: 128 << 10, ..config() }).unwrap();
    let drops = Drops::default();
    let places: Root<RefLock<Vec<Entry<'static>>>> =
        heap.run(|cx| cx.root(Gc::new(cx, RefLock::default())));
    let mut model: Vec<(Vec<u64>, String, Vec<Vec<u64>>)> = Vec::new();
    let mut made = 0;
    for round in 0..if zeal { 400 } else { 20_000u64 } {
        heap.run(|cx| {
            let places = places.get(cx);
            let at = random(50);
            let numbers: Vec<u64> = (0..random(30)).map(|n| round + n as u64).collect();
            let lists: Vec<Vec<u64>> = (0..random(4)).map(|n| vec![round; n]).collect();
            let text = "x".repeat(random(100));
            let object = HeaderSlice::from_iter(
                cx,
                Gc::new(cx, numbers.len() as u64),
                numbers.iter().map(|&n| Gc::new(cx, n)),
            );
            let list = |n: usize| {
                RefLock::new(lists[n].iter().map(|&number| Gc::new(cx, number)).collect())
            };
            let header = Mixed { number: Gc::new(cx, round), _droppable: drops.one() };
            made += 1;
            let entry = Entry {
                object: Some(object),
                weak: Some(Gc::downgrade(cx, object)),
                text: Some(HeaderSlice::from_str(cx, text.len() as u32, &text)),
                mixed: Some(HeaderSlice::from_fn(cx, header, lists.len(), list)),
            };
            let mut places = places.borrow_mut(cx);
            if at < places.len() {
                places[at] = entry;
                model[at] = (numbers, text, lists);
            } else {
                places.push(entry);
                model.push((numbers, text, lists));
            }
        });
        if round % 101 == 0 {
            heap.collect();
            assert_eq!(made - drops.count(), model.len());
        }
        let at = random(model.len());
        heap.run(|cx| {
            let places = places.get(cx);
            let (entry, model) = (&places.borrow()[at], &model[at]);
            let object = entry.object.unwrap();
            assert_eq!(*object.header, model.0.len() as u64);
            assert!(object.slice.iter().map(|number| **number).eq(model.0.iter().copied()));
            assert!(Gc::ptr_eq(entry.weak.unwrap().upgrade(cx).unwrap(), object));
            let text = entry.text.unwrap();
            assert_eq!((text.header as usize, &text.slice), (model.1.len(), &*model.1));
            let mixed = entry.mixed.unwrap();
            assert!(mixed.slice.len() == model.2.len());
            for (list, model) in mixed.slice.iter().zip(&model.2) {
                assert!(list.borrow().iter().map(|number| **number).eq(model.iter().copied()));
            }
        });
    }
    drop(places);
    heap.collect();
    heap.collect();
    heap.collect();
    assert_eq!((heap.raw().stats().heap_objects, drops.count()), (0, made));
}
