//! Types of the standard library, and of the crates behind features, that may be in a heap: what is free of references
//! says so, and what has some keeps their objects alive.

#![forbid(unsafe_code)]

use mallocgc::raw::Config;
use mallocgc::typed::{Family, Gc, Heap, Root, Shape, Slot, Trace};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};

const COUNT: u64 = 100;

fn heap() -> Heap {
    let zeal = std::env::var_os("MALLOCGC_ZEAL").is_some();
    Heap::new(Config {
        collect_every: if zeal { 3 } else { 0 },
        clobber: 0xdead_beef_dead_beef,
        verify: zeal,
        ..Config::default()
    })
    .unwrap()
}

fn shape<T: Trace<'static> + ?Sized>() -> Shape {
    T::SHAPE
}

#[test]
fn plain_types_are_free_of_references() {
    macro_rules! free {
        ($($of:ty),* $(,)?) => {$(
            assert!(shape::<$of>().is_free(), stringify!($of));
        )*};
    }
    free! {
        (), bool, char, str, String, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64,
        std::num::NonZeroU8, std::num::NonZeroU128, std::num::NonZeroI128, std::num::Wrapping<u8>,
        std::num::Saturating<u8>, std::sync::atomic::AtomicU16, std::sync::atomic::AtomicI8,
        std::cmp::Ordering, std::convert::Infallible, std::time::Duration, std::time::Instant,
        std::time::SystemTime, std::path::PathBuf, std::path::Path, std::ffi::CString, std::ffi::CStr,
        std::ffi::OsString, std::ffi::OsStr, std::any::TypeId, std::alloc::Layout, std::thread::ThreadId,
        std::net::Ipv4Addr, std::net::Ipv6Addr, std::net::IpAddr, std::net::SocketAddr, std::net::SocketAddrV4,
        std::fs::File, std::net::TcpStream, std::io::Error, std::num::ParseIntError, std::hash::RandomState,
        &'static str, &'static [u8], Cow<'static, str>, Cow<'static, [u8]>,
        std::rc::Rc<str>, std::sync::Arc<[u8]>, std::rc::Weak<u8>, std::sync::Weak<u8>,
        std::cell::Cell<String>, std::cell::RefCell<Vec<u8>>, std::cell::OnceCell<u8>, std::sync::OnceLock<u8>,
        std::cell::LazyCell<u8>, std::sync::LazyLock<u8>, std::sync::Mutex<u8>, std::sync::RwLock<u8>,
        std::ops::Range<usize>, std::ops::RangeInclusive<u8>, std::ops::Bound<u8>,
        std::sync::mpsc::Sender<u8>, std::sync::mpsc::Receiver<u8>, std::thread::JoinHandle<u8>,
        Box<dyn std::any::Any>, Box<dyn std::any::Any + Send>, Box<dyn std::error::Error + Send + Sync>,
        Box<str>, Box<[u8]>, Vec<u8>, HashMap<String, u8>, Option<String>, Result<u8, String>,
        std::marker::PhantomData<Gc<'static, u8>>, fn(), fn(Gc<'static, u8>) -> Option<Gc<'static, u8>>,
        (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8), [u8; 1000],
    }
}

#[test]
fn wrappers_and_tuples_have_the_shape_of_what_they_hold() {
    type Word = Gc<'static, u8>;
    assert_eq!(shape::<std::cmp::Reverse<Word>>(), Shape::WORD);
    assert_eq!(shape::<std::mem::ManuallyDrop<(u64, Word)>>().mask(), Some(0b10));
    assert_eq!(shape::<std::pin::Pin<Box<Word>>>(), Shape::FUNCTION);
    let mask = shape::<(Word, Word, Word, Word, Word, Word, Word, Word, Word, Word, Word, Word)>();
    assert_eq!(mask.mask(), Some(0xfff));
    let mask = shape::<(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, Word)>().mask();
    assert_eq!(mask.map(u64::count_ones), Some(1));
}

/// Puts a value with `COUNT` references into a heap, collects, and reads it back.
fn keeps<F: Family>(
    make: impl for<'gc> FnOnce(&mut dyn Iterator<Item = Gc<'gc, u64>>) -> F::At<'gc>,
    read: impl for<'gc> Fn(&F::At<'gc>) -> Vec<u64>,
) {
    let heap = heap();
    let root: Root<F> = heap.run(|cx| {
        let value = make(&mut (0..COUNT).map(|n| Gc::new(cx, n)));
        cx.root(Gc::new(cx, value))
    });
    for _ in 0..2 {
        heap.collect();
        heap.run(|cx| {
            // Garbage in the cells of what was lost, if something was.
            (0..COUNT).for_each(|_| _ = Gc::new(cx, u64::MAX));
            let mut found = read(&root.get(cx));
            found.sort_unstable();
            assert_eq!(found, (0..COUNT).collect::<Vec<_>>(), "{}", std::any::type_name::<F>());
        });
    }
    drop(root);
    heap.collect();
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0, "{}", std::any::type_name::<F>());
}

macro_rules! keep {
    ($($of:ty),* $(,)?) => {$(
        keeps::<$of>(|objects| objects.collect(), |value| value.iter().map(|object| **object).collect());
    )*};
}

macro_rules! keep_pairs {
    ($($of:ty, $of_keys:ty);* $(;)?) => {$(
        keeps::<$of>(
            |objects| objects.map(|object| (*object, object)).collect(),
            |value| value.iter().map(|(key, object)| {
                assert_eq!(*key, **object);
                *key
            }).collect(),
        );
        keeps::<$of_keys>(
            |objects| objects.map(|object| (object, *object)).collect(),
            |value| value.iter().map(|(object, number)| {
                assert_eq!(*number, **object);
                *number
            }).collect(),
        );
    )*};
}

type Word = Gc<'static, u64>;

#[test]
fn containers_of_the_standard_library_keep_what_they_hold() {
    keep!(
        Vec<Word>,
        VecDeque<Word>,
        LinkedList<Word>,
        BTreeSet<Word>,
        BinaryHeap<Word>,
        HashSet<Word>
    );
    keep_pairs!(HashMap<u64, Word>, HashMap<Word, u64>; BTreeMap<u64, Word>, BTreeMap<Word, u64>);
    keeps::<Box<Vec<Word>>>(
        |objects| Box::new(objects.collect()),
        |value| value.iter().map(|object| **object).collect(),
    );
    keeps::<std::pin::Pin<Box<Vec<Word>>>>(
        |objects| Box::pin(objects.collect()),
        |value| value.iter().map(|object| **object).collect(),
    );
    // Nested, optional, results, and a mix of what has references with what has none.
    keeps::<Vec<Option<Result<(String, Word), u8>>>>(
        |objects| objects.map(|object| Some(Ok((object.to_string(), object)))).collect(),
        |value| {
            let found = value.iter().flatten().flatten();
            found
                .map(|(text, object)| (text.parse() == Ok(**object)).then(|| **object).unwrap())
                .collect()
        },
    );
    keeps::<VecDeque<std::cmp::Reverse<Word>>>(
        |objects| objects.map(std::cmp::Reverse).collect(),
        |value| value.iter().map(|object| *object.0).collect(),
    );
    keeps::<[Slot<Option<Word>>; COUNT as usize]>(
        |objects| std::array::from_fn(|_| Slot::new(objects.next())),
        |value| value.iter().flat_map(|slot| slot.get()).map(|object| *object).collect(),
    );
}

#[cfg(feature = "hashbrown")]
#[test]
fn containers_of_hashbrown_keep_what_they_hold() {
    use hashbrown::{HashMap, HashSet, HashTable};
    use std::hash::RandomState;
    keep!(HashSet<Word, RandomState>);
    keep_pairs!(HashMap<u64, Word, RandomState>, HashMap<Word, u64, RandomState>);
    keeps::<HashTable<(u8, Word)>>(
        |objects| {
            let mut table = HashTable::new();
            for object in objects {
                table.insert_unique(*object % 7, (1, object), |(_, object)| **object % 7);
            }
            table
        },
        |value| value.iter().map(|(_, object)| **object).collect(),
    );
    assert!(shape::<HashMap<String, u8, RandomState>>().is_free());
}

#[cfg(feature = "indexmap")]
#[test]
fn containers_of_indexmap_keep_what_they_hold() {
    use indexmap::{IndexMap, IndexSet};
    keep!(IndexSet<Word>);
    keep_pairs!(IndexMap<u64, Word>, IndexMap<Word, u64>);
    assert!(shape::<IndexMap<String, u8>>().is_free());
}

#[cfg(feature = "smallvec")]
#[test]
fn vectors_of_smallvec_keep_what_they_hold_inside_and_outside() {
    use smallvec::SmallVec;
    keep!(SmallVec<[Word; 2]>, SmallVec<[Word; 100]>);
    assert!(shape::<SmallVec<[u8; 3]>>().is_free());
    // Inside of an object, as part of an array, after it has grown out of it.
    keeps::<Vec<SmallVec<[Word; 4]>>>(
        |objects| {
            let mut lists = vec![SmallVec::new(); 10];
            for (index, object) in objects.enumerate() {
                lists[index % 7].push(object);
            }
            lists
        },
        |value| value.iter().flatten().map(|object| **object).collect(),
    );
}
