//! finalizers: objects whose death is told, and a weak intern table.
//!
//! `objects` objects of 32 bytes, each with a reference to a common one, get a finalizer; they are collected alive, then
//! dead, until all finalizers have run. The same with cleanups. Then `operations` texts of 24 bytes, of
//! `keys` different ones at random, are interned: the table holds them by weak handles, a window of `keys` / 8 keeps the
//! latest alive. Four collections are forced on the way. Runtimes that free explicitly have nothing to compare.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{Session, collect, set};
use crate::host::Stopwatch;
use crate::random::{Digest, Random};
use crate::report::Outcome;
use mallocgc::raw::{AllocClass, Mutator, TypeLayout, Weak};
use std::collections::BTreeMap;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub(super) const CASES: &[Case] = &[Case {
    name: "finalizers",
    about: "finalizers, cleanups and a weak intern table",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    set: Some(Set::Representative),
    peers: &[Runtime::Go, Runtime::Libgc],
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("objects", 2_000), ("keys", 256), ("operations", 4_000)],
        Scale::Quick => &[("objects", 250_000), ("keys", 65_536), ("operations", 500_000)],
        Scale::Full => &[("objects", 1_000_000), ("keys", 262_144), ("operations", 2_000_000)],
    }
}

/// An object whose death is told.
#[repr(C)]
struct Mortal {
    group: *mut Mortal,
    number: u64,
    spare: [u64; 2],
}

const _: () = assert!(size_of::<Mortal>() == 32);

/// What finalizers and cleanups add to.
#[derive(Default)]
struct Deaths {
    sum: AtomicU64,
    count: AtomicU64,
}

impl Deaths {
    /// For the rest of the program: whoever tells of a death needs no count of who else does.
    fn leak() -> &'static Deaths {
        Box::leak(Box::default())
    }

    // Relaxed: both are read after the queue's lock has been taken in between.
    fn add(&self, number: u64) {
        self.sum.fetch_add(number, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }
}

/// How deaths are told.
#[derive(Clone, Copy)]
enum Told {
    ByFinalizer,
    ByCleanup,
}

impl Told {
    fn name(self) -> &'static str {
        match self {
            Told::ByFinalizer => "finalizer",
            Told::ByCleanup => "cleanup",
        }
    }

    fn register(
        self,
        mutator: &Mutator,
        object: NonNull<u8>,
        number: u64,
        deaths: &'static Deaths,
    ) -> Result<(), RunError> {
        match self {
            Told::ByFinalizer => mutator
                .set_finalizer(object, |_, object| {
                    // SAFETY: the object is a `Mortal`, and lives for the call.
                    deaths.add(unsafe { object.cast::<Mortal>().as_ref() }.number);
                })
                .map(drop)
                .map_err(RunError::failed("finalizer")),
            Told::ByCleanup => mutator
                .add_cleanup(object.as_ptr(), move |_| deaths.add(number))
                .map(drop)
                .map_err(RunError::failed("cleanup")),
        }
    }

    fn wait(self, mutator: &mut Mutator) {
        let limit = Duration::from_secs(60);
        let done = match self {
            Told::ByFinalizer => mutator.wait_finalizers(limit),
            Told::ByCleanup => mutator.wait_cleanups(limit),
        };
        assert!(done, "{}s do not end", self.name());
    }
}

/// The figures, until there is an outcome to put them in.
type Figures = BTreeMap<String, f64>;

/// Makes objects, tells of their death, and lets them die. Returns the sum of their numbers.
fn mortals(
    session: &Session,
    mutator: &mut Mutator,
    objects: u64,
    told: Told,
    figures: &mut Figures,
) -> Result<u64, RunError> {
    let name = told.name();
    let deaths = Deaths::leak();
    let class = mutator.alloc_class(32, session.layout(&TypeLayout::mask(4, 1))?)?;
    let table = mutator.new_array(session.references()?, objects as usize)?;
    let depth = mutator.push_root(table);
    let table = table.cast::<*mut Mortal>().as_ptr();
    let group = mutator.alloc(class)?;
    mutator.push_root(group);
    let clock = Stopwatch::start();
    for number in 0..objects {
        let object = mutator.alloc(class)?;
        let mortal = object.cast::<Mortal>().as_ptr();
        // SAFETY: the object is new, and the table, a root, has a place for each.
        unsafe {
            set(mutator, &raw mut (*mortal).group, group.cast().as_ptr());
            (*mortal).number = number;
            set(mutator, table.add(number as usize), mortal);
        }
        told.register(mutator, object, number, deaths)?;
        mutator.poll();
    }
    let register_nanos = clock.cpu_nanos() as f64 / objects as f64;
    figures.insert(format!("{name}_register_nanos"), register_nanos);
    let clock = Stopwatch::start();
    collect(mutator)?;
    figures.insert(format!("{name}_alive_nanos"), clock.wall_nanos() as f64);
    for number in 0..objects as usize {
        // SAFETY: the table is a root and has this place.
        unsafe { set(mutator, table.add(number), null_mut()) };
    }
    let clock = Stopwatch::start();
    collect(mutator)?;
    figures.insert(format!("{name}_dead_nanos"), clock.wall_nanos() as f64);
    told.wait(mutator);
    figures.insert(format!("{name}_told_nanos"), clock.wall_nanos() as f64);
    assert_eq!(deaths.count.load(Relaxed), objects, "{name}s");
    mutator.truncate_roots(depth);
    collect(mutator)?;
    Ok(deaths.sum.load(Relaxed))
}

/// A text of 24 bytes.
type Text = [u64; 3];

/// One place of the intern table. An object; whoever takes it out of the table drops `text`.
#[repr(C)]
struct Node {
    next: *mut Node,
    text: Weak,
    hash: u64,
}

/// The intern table.
///
/// # Invariants
///
/// 1. `buckets` is an object with `mask + 1` references, kept by a root; nodes in its chains have been
///    filled.
struct Table<'m> {
    mutator: &'m Mutator,
    buckets: *mut *mut Node,
    mask: u64,
    node: AllocClass,
    text: AllocClass,
}

impl Table<'_> {
    /// Finds the one living object with this text, or makes it. Nodes of dead ones go as they are met.
    fn intern(&self, text: &Text) -> Result<NonNull<Text>, RunError> {
        // SAFETY: invariant 1; objects that weak handles name are alive until the next poll.
        unsafe {
            let mut link = self.buckets.add(((text[0] >> 32) & self.mask) as usize);
            while !(*link).is_null() {
                let node = *link;
                let Some(object) = (*node).text.get(self.mutator) else {
                    (&raw mut (*node).text).drop_in_place();
                    set(self.mutator, link, (*node).next);
                    continue;
                };
                let object = object.cast::<Text>();
                if (*node).hash == text[0] && *object.as_ref() == *text {
                    return Ok(object);
                }
                link = &raw mut (*node).next;
            }
            let object = self.mutator.alloc(self.text)?.cast::<Text>();
            object.write(*text);
            let (weak, _) =
                self.mutator.weak(object.cast()).map_err(RunError::failed("weak handle"))?;
            let node = self.mutator.alloc(self.node)?.cast::<Node>().as_ptr();
            (&raw mut (*node).text).write(weak);
            (*node).hash = text[0];
            set(self.mutator, link, node);
            Ok(object)
        }
    }

    /// Empties the table; how many of its objects were alive.
    fn empty(&self) -> u64 {
        let mut alive = 0;
        for place in 0..=self.mask as usize {
            // SAFETY: invariant 1.
            unsafe {
                let mut node = *self.buckets.add(place);
                while !node.is_null() {
                    alive += u64::from(!(*node).text.is_cleared());
                    (&raw mut (*node).text).drop_in_place();
                    node = (*node).next;
                }
                set(self.mutator, self.buckets.add(place), null_mut());
            }
        }
        alive
    }
}

fn intern_operations(
    session: &Session,
    mutator: &Mutator,
    (keys, operations): (u64, u64),
    check: &mut Digest,
    figures: &mut Figures,
) -> Result<(), RunError> {
    let references = session.references()?;
    let buckets = keys.next_power_of_two();
    let array = mutator.new_array(references, buckets as usize)?;
    let depth = mutator.push_root(array);
    let table = Table {
        mutator,
        buckets: array.cast().as_ptr(),
        mask: buckets - 1,
        node: mutator.alloc_class(24, session.layout(&TypeLayout::mask(3, 1))?)?,
        text: mutator.alloc_class(24, session.layout(&TypeLayout::noscan(24))?)?,
    };
    let size = keys / 8;
    let window = mutator.new_array(references, size as usize)?;
    mutator.push_root(window);
    let window = window.cast::<*mut Text>().as_ptr();
    let mut random = Random::new(10);
    let clock = Stopwatch::start();
    for i in 0..operations {
        let key = random.below(keys);
        let text = [Random::new(key).next(), key, !key];
        let object = table.intern(&text)?;
        // SAFETY: it is alive until the next poll.
        check.add(unsafe { object.as_ref() }[1]);
        if i % 16 == 0 && table.intern(&text)? != object {
            check.add(i);
        }
        // SAFETY: the window is a root with `size` places.
        unsafe { set(mutator, window.add((i % size) as usize), object.as_ptr()) };
        mutator.poll();
        if i % (operations / 4) == operations / 8 {
            collect(mutator)?;
        }
    }
    let nanos = clock.cpu_nanos() as f64 / operations as f64;
    figures.insert("weak_operation_nanos".to_owned(), nanos);
    for place in 0..size as usize {
        // SAFETY: as above.
        unsafe { set(mutator, window.add(place), null_mut()) };
    }
    collect(mutator)?;
    figures.insert("weak_survivors".to_owned(), table.empty() as f64);
    mutator.truncate_roots(depth);
    Ok(())
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let objects = run.number("objects")?;
    let sizes = (run.number("keys")?, run.number("operations")?);
    let session = Session::new()?;
    let mut mutator = session.attach()?;
    let mut check = Digest::new();
    let mut figures = Figures::new();
    for told in [Told::ByFinalizer, Told::ByCleanup] {
        check.add(mortals(&session, &mut mutator, objects, told, &mut figures)?);
    }
    intern_operations(&session, &mutator, sizes, &mut check, &mut figures)?;
    let mut outcome = session.outcome(check.value());
    outcome.metrics = figures;
    Ok(outcome)
}
