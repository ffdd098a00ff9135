//! The objects of the random programs: types of every kind that the safe interface knows, behind one trait.

use mallocgc::typed::{
    Cx, Ephemeron, Gc, GcWeak, HeaderSlice, Kind, Local, Lock, Mutation, OnceLock, RefLock, Root,
    Shared, SharedLock, Slot, Trace, Weak, WeakMap,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// References to others of the form, two of which change.
    Cons,
    /// A reference to one of each of the forms that have no references at unknown places.
    Case,
    /// An array of slots.
    Words,
    /// A string.
    Text,
    /// A number and a destructor.
    Plain,
    /// An object behind a trait.
    Shown,
    /// A vector and a destructor.
    Bag,
    /// An array of cells with any reference.
    Row,
    /// One such cell, by itself or in a row.
    Cell,
    /// A place that is set once.
    Late,
    /// An enumeration.
    Tree,
    /// A weak reference.
    Loose,
    /// A number and slots in one object.
    Closure,
    /// A number, a destructor and cells with any reference in one object.
    Record,
    /// A handle to itself, a slot and a destructor.
    Widget,
    /// A key, and what lives as long.
    Pair,
    /// A map of such.
    Table,
}

/// What an edge may lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Accepts {
    Any,
    Only(Form),
}

/// When it may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Changes {
    Always,
    Once,
    Never,
}

impl Form {
    pub(crate) const ALL: [Form; 17] = [
        Form::Cons,
        Form::Case,
        Form::Words,
        Form::Text,
        Form::Plain,
        Form::Shown,
        Form::Bag,
        Form::Row,
        Form::Cell,
        Form::Late,
        Form::Tree,
        Form::Loose,
        Form::Closure,
        Form::Record,
        Form::Widget,
        Form::Pair,
        Form::Table,
    ];

    /// Forms whose references are words at fixed places, so that their heap can be marked beside its mutators.
    pub(crate) const BY_MASK: [Form; 12] = [
        // More of those that lead on.
        Form::Cons,
        Form::Cons,
        Form::Cons,
        Form::Case,
        Form::Case,
        Form::Words,
        Form::Text,
        Form::Plain,
        Form::Shown,
        Form::Loose,
        Form::Closure,
        Form::Pair,
    ];

    /// How many edges a new object has; `None` is as many as one likes. That of a loose one is none later, but what it
    /// is weak of, and those of a pair are its key and its value.
    pub(crate) fn edges(self) -> Option<usize> {
        match self {
            Form::Words | Form::Bag | Form::Row | Form::Closure | Form::Record => None,
            Form::Text | Form::Plain | Form::Table => Some(0),
            Form::Shown | Form::Cell | Form::Late | Form::Loose | Form::Widget => Some(1),
            Form::Tree | Form::Pair => Some(2),
            Form::Cons => Some(3),
            Form::Case => Some(5),
        }
    }

    pub(crate) fn accepts(self, edge: usize) -> Accepts {
        match (self, edge) {
            (Form::Case, 0) => Accepts::Only(Form::Words),
            (Form::Case, 1) => Accepts::Only(Form::Text),
            (Form::Case, 2) => Accepts::Only(Form::Shown),
            (Form::Case, 3) => Accepts::Only(Form::Plain),
            (Form::Case, _) => Accepts::Only(Form::Case),
            (Form::Cons | Form::Words | Form::Shown | Form::Loose, _) => Accepts::Only(Form::Cons),
            (Form::Closure | Form::Widget | Form::Pair, _) => Accepts::Only(Form::Cons),
            _ => Accepts::Any,
        }
    }

    /// An edge that is never absent.
    pub(crate) fn requires(self, edge: usize) -> bool {
        self == Form::Case && edge < 3 || matches!(self, Form::Loose | Form::Pair)
    }

    pub(crate) fn changes(self, edge: usize) -> Changes {
        match (self, edge) {
            (Form::Case, 0..3) | (Form::Cons, 2) | (Form::Tree, _) => Changes::Never,
            (Form::Late, _) => Changes::Once,
            _ => Changes::Always,
        }
    }

    /// Whether the objects count how often they are dropped.
    pub(crate) fn drops(self) -> bool {
        matches!(self, Form::Plain | Form::Bag | Form::Record | Form::Widget)
    }

    /// Whether there are handles to the form: its objects have a size.
    pub(crate) fn has_handles(self) -> bool {
        !matches!(
            self,
            Form::Words | Form::Text | Form::Shown | Form::Row | Form::Closure | Form::Record
        )
    }

    /// Whether the objects hold a number.
    pub(crate) fn has_number(self) -> bool {
        !matches!(self, Form::Words | Form::Row | Form::Cell)
    }
}

/// What there is to see of an object.
#[derive(Debug)]
pub(crate) struct Seen<A> {
    pub(crate) form: Form,
    pub(crate) address: usize,
    pub(crate) number: u64,
    pub(crate) edges: Vec<Option<A>>,
}

/// An object that is to be made.
pub(crate) struct Job<A> {
    pub(crate) form: Form,
    pub(crate) number: u64,
    pub(crate) edges: Vec<Option<A>>,
    pub(crate) drops: Arc<AtomicU32>,
}

/// The objects of one kind of heap.
pub(crate) trait World: Sized {
    type Kind: Kind;
    type Any<'gc>: Copy + fmt::Debug;
    type Root: Clone;
    type Weak: Clone;

    /// `edges` are as the form's functions say.
    fn make<'gc>(
        cx: &Cx<'gc, Self::Kind>,
        form: Form,
        number: u64,
        edges: &[Option<Self::Any<'gc>>],
        drops: &Arc<AtomicU32>,
    ) -> Self::Any<'gc>;
    /// The same by several threads, if the heap has such.
    fn make_apart<'gc>(
        cx: &Cx<'gc, Self::Kind>,
        jobs: Vec<Job<Self::Any<'gc>>>,
    ) -> Vec<Self::Any<'gc>>;
    fn look<'gc>(any: Self::Any<'gc>) -> Seen<Self::Any<'gc>>;
    fn set<'gc>(
        cx: &Cx<'gc, Self::Kind>,
        any: Self::Any<'gc>,
        edge: usize,
        value: Option<Self::Any<'gc>>,
    );
    /// Gives a bag so many edges, absent ones at the end.
    fn resize<'gc>(cx: &Cx<'gc, Self::Kind>, bag: Self::Any<'gc>, edges: usize);
    /// A cell of a row.
    fn part<'gc>(row: Self::Any<'gc>, edge: usize) -> Self::Any<'gc>;

    fn root<'gc>(cx: &Cx<'gc, Self::Kind>, any: Self::Any<'gc>) -> Self::Root;
    /// Lets a root name another object; whether it is of the right type.
    fn set_root<'gc>(cx: &Cx<'gc, Self::Kind>, root: &Self::Root, any: Self::Any<'gc>) -> bool;
    fn get<'gc>(cx: &Cx<'gc, Self::Kind>, root: &Self::Root) -> Self::Any<'gc>;
    fn weak<'gc>(cx: &Cx<'gc, Self::Kind>, any: Self::Any<'gc>) -> Self::Weak;
    fn upgrade<'gc>(cx: &Cx<'gc, Self::Kind>, weak: &Self::Weak) -> Option<Self::Any<'gc>>;
    fn is_dead(weak: &Self::Weak) -> bool;
    /// What a loose object leads to, if that is there.
    fn weak_target<'gc>(cx: &Cx<'gc, Self::Kind>, loose: Self::Any<'gc>) -> Option<Self::Any<'gc>>;
    /// The keys of a pair or table that are there, with their values.
    fn pairs<'gc>(
        cx: &Cx<'gc, Self::Kind>,
        any: Self::Any<'gc>,
    ) -> Vec<(Self::Any<'gc>, Self::Any<'gc>)>;
    /// Enters a value for a key into a table or lets a pair have it, or takes the key out of the table.
    fn enter<'gc>(
        cx: &Cx<'gc, Self::Kind>,
        any: Self::Any<'gc>,
        key: Self::Any<'gc>,
        value: Option<Self::Any<'gc>>,
    );
    /// Forgets the keys of a table that are gone.
    fn sweep<'gc>(cx: &Cx<'gc, Self::Kind>, table: Self::Any<'gc>);
}

/// Counts how often it is dropped.
#[derive(Trace)]
#[gc(static)]
pub(crate) struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// The string of a number: some are empty.
pub(crate) fn text(number: u64) -> String {
    if number.is_multiple_of(8) { String::new() } else { number.to_string() }
}

/// A cell of one value, in either kind of heap.
trait Place<'gc, T> {
    fn new(value: T) -> Self;
    fn load(&self) -> T;
    fn store(&self, mutation: &Mutation<'gc>, value: T);
}

impl<'gc, T: Copy + Trace<'gc>> Place<'gc, T> for Lock<T> {
    fn new(value: T) -> Self {
        Lock::new(value)
    }
    fn load(&self) -> T {
        self.get()
    }
    fn store(&self, mutation: &Mutation<'gc>, value: T) {
        self.set(mutation, value);
    }
}

impl<'gc, T: Copy + Trace<'gc>> Place<'gc, T> for SharedLock<T> {
    fn new(value: T) -> Self {
        SharedLock::new(value)
    }
    fn load(&self) -> T {
        *self.read()
    }
    fn store(&self, mutation: &Mutation<'gc>, value: T) {
        *self.write(mutation) = value;
    }
}

/// A cell of a vector, in either kind of heap.
trait List<'gc, T> {
    fn new(values: Vec<T>) -> Self;
    fn copy(&self) -> Vec<T>;
    fn change(&self, mutation: &Mutation<'gc>, change: impl FnOnce(&mut Vec<T>));
}

impl<'gc, T: Copy + Trace<'gc>> List<'gc, T> for RefLock<Vec<T>> {
    fn new(values: Vec<T>) -> Self {
        RefLock::new(values)
    }
    fn copy(&self) -> Vec<T> {
        self.borrow().clone()
    }
    fn change(&self, mutation: &Mutation<'gc>, change: impl FnOnce(&mut Vec<T>)) {
        change(&mut self.borrow_mut(mutation));
    }
}

impl<'gc, T: Copy + Trace<'gc>> List<'gc, T> for SharedLock<Vec<T>> {
    fn new(values: Vec<T>) -> Self {
        SharedLock::new(values)
    }
    fn copy(&self) -> Vec<T> {
        self.read().clone()
    }
    fn change(&self, mutation: &Mutation<'gc>, change: impl FnOnce(&mut Vec<T>)) {
        change(&mut self.write(mutation));
    }
}

/// A cell of anything, in either kind of heap.
trait Hold<'gc, T> {
    fn hold(value: T) -> Self;
    fn see<R>(&self, see: impl FnOnce(&T) -> R) -> R;
    fn alter<R>(&self, mutation: &Mutation<'gc>, alter: impl FnOnce(&mut T) -> R) -> R;
}

impl<'gc, T: Trace<'gc>> Hold<'gc, T> for RefLock<T> {
    fn hold(value: T) -> Self {
        RefLock::new(value)
    }
    fn see<R>(&self, see: impl FnOnce(&T) -> R) -> R {
        see(&self.borrow())
    }
    fn alter<R>(&self, mutation: &Mutation<'gc>, alter: impl FnOnce(&mut T) -> R) -> R {
        alter(&mut self.borrow_mut(mutation))
    }
}

impl<'gc, T: Trace<'gc>> Hold<'gc, T> for SharedLock<T> {
    fn hold(value: T) -> Self {
        SharedLock::new(value)
    }
    fn see<R>(&self, see: impl FnOnce(&T) -> R) -> R {
        see(&self.read())
    }
    fn alter<R>(&self, mutation: &Mutation<'gc>, alter: impl FnOnce(&mut T) -> R) -> R {
        alter(&mut self.write(mutation))
    }
}

/// Does jobs one after the other.
macro_rules! in_turn {
    ($cx:expr, $jobs:expr, $work:expr) => {
        $jobs.into_iter().map(|job| $work($cx, job)).collect()
    };
}

/// Does jobs on two threads more.
macro_rules! on_threads {
    ($cx:expr, $jobs:expr, $work:expr) => {
        $cx.fork(|fork| {
            let mut jobs = $jobs;
            let rest = jobs.split_off(jobs.len() / 3);
            let mut parts = [rest, Vec::new()];
            parts[1] = parts[0].split_off(parts[0].len() / 2);
            let threads = parts.map(|jobs| {
                let work = move |cx: &Cx<'gc, Shared>| -> Vec<_> { in_turn!(cx, jobs, $work) };
                fork.spawn(work).unwrap()
            });
            let mut made: Vec<_> = in_turn!($cx, jobs, $work);
            for thread in threads {
                made.extend(thread.join().unwrap());
            }
            made
        })
    };
}

/// What objects behind a trait must be in a heap of one thread.
pub(crate) trait Anything {}
impl<T> Anything for T {}

/// And in a shared one.
pub(crate) trait Shareable: Send + Sync {}
impl<T: Send + Sync> Shareable for T {}

/// The reference in an edge that accepts one form.
macro_rules! only {
    ($any:expr, $of:ident::$wanted:ident) => {
        $any.map(|any| match any {
            $of::$wanted(object) => object,
            other => panic!("{other:?} where another form is accepted"),
        })
    };
}

/// Types, and the trait for them. `$word` is a cell of a reference, `$place` one of any copy, `$list` one of a vector.
macro_rules! world {
    (
        $name:ident in $module:ident: $kind:ty, $word:ident, $place:ident, $list:ident, $bound:ident, $apart:ident;
        $($form:ident($of:ty))*
    ) => {
        pub(crate) mod $module {
            use super::*;

            #[derive(Trace)]
            pub(crate) struct Cons<'gc> {
                pub(crate) number: u64,
                first: Slot<Option<Gc<'gc, Cons<'gc>>>>,
                second: $word<Option<Gc<'gc, Cons<'gc>>>>,
                pub(crate) fixed: Option<Gc<'gc, Cons<'gc>>>,
            }

            impl<'gc> Cons<'gc> {
                pub(crate) fn new(number: u64, fixed: Option<Gc<'gc, Cons<'gc>>>) -> Self {
                    Cons { number, first: Slot::new(None), second: $word::new(None), fixed }
                }
            }

            pub(crate) type Words<'gc> = [Slot<Option<Gc<'gc, Cons<'gc>>>>];

            #[derive(Trace)]
            pub(crate) struct Case<'gc> {
                number: u64,
                words: Gc<'gc, Words<'gc>>,
                text: Gc<'gc, str>,
                shown: Gc<'gc, Dyn<'gc>>,
                plain: Slot<Option<Gc<'gc, Plain>>>,
                case: Slot<Option<Gc<'gc, Case<'gc>>>>,
            }

            #[derive(Trace)]
            pub(crate) struct Plain {
                number: u64,
                counted: Counted,
            }

            pub(crate) trait Shown<'gc>: $bound {
                fn number(&self) -> u64;
                fn next(&self) -> &Slot<Option<Gc<'gc, Cons<'gc>>>>;
            }

            pub(crate) type Dyn<'gc> = dyn Shown<'gc> + 'gc;

            #[derive(Trace)]
            struct Small<'gc>(Slot<Option<Gc<'gc, Cons<'gc>>>>, u64);

            #[derive(Trace)]
            struct Large<'gc>([u64; 5], u64, Slot<Option<Gc<'gc, Cons<'gc>>>>);

            impl<'gc> Shown<'gc> for Small<'gc> {
                fn number(&self) -> u64 {
                    self.1
                }
                fn next(&self) -> &Slot<Option<Gc<'gc, Cons<'gc>>>> {
                    &self.0
                }
            }

            impl<'gc> Shown<'gc> for Large<'gc> {
                fn number(&self) -> u64 {
                    assert_eq!(self.0, [self.1; 5]);
                    self.1
                }
                fn next(&self) -> &Slot<Option<Gc<'gc, Cons<'gc>>>> {
                    &self.2
                }
            }

            #[derive(Trace)]
            pub(crate) struct Bag<'gc> {
                number: u64,
                list: $list<Vec<Option<Any<'gc>>>>,
                counted: Counted,
            }

            pub(crate) type Cell<'gc> = $place<Option<Any<'gc>>>;

            #[derive(Trace)]
            pub(crate) struct Late<'gc> {
                number: u64,
                later: OnceLock<Any<'gc>>,
            }

            #[derive(Trace)]
            pub(crate) enum Tree<'gc> {
                Leaf(u64),
                Fork { number: u64, left: Option<Any<'gc>>, right: Option<Box<Any<'gc>>> },
            }

            #[derive(Trace)]
            pub(crate) struct Loose<'gc> {
                number: u64,
                weak: GcWeak<'gc, Cons<'gc>>,
            }

            pub(crate) type Closure<'gc> = HeaderSlice<u64, [Slot<Option<Gc<'gc, Cons<'gc>>>>]>;

            pub(crate) type Record<'gc> = HeaderSlice<(u64, Counted), [Cell<'gc>]>;

            #[derive(Trace)]
            pub(crate) struct Widget<'gc> {
                number: u64,
                this: Weak<Widget<'static>>,
                next: Slot<Option<Gc<'gc, Cons<'gc>>>>,
                counted: Counted,
            }

            type Weakly<'gc> = Ephemeron<'gc, Cons<'gc>, Cons<'gc>>;

            #[derive(Trace)]
            pub(crate) struct Pair<'gc> {
                number: u64,
                pair: Weakly<'gc>,
            }

            #[derive(Trace)]
            pub(crate) struct Table<'gc> {
                number: u64,
                map: $list<WeakMap<'gc, Cons<'gc>, Cons<'gc>>>,
            }

            #[derive(Clone, Copy, Trace)]
            pub(crate) enum Any<'gc> {
                Cons(Gc<'gc, Cons<'gc>>),
                Case(Gc<'gc, Case<'gc>>),
                Words(Gc<'gc, Words<'gc>>),
                Text(Gc<'gc, str>),
                Plain(Gc<'gc, Plain>),
                Shown(Gc<'gc, Dyn<'gc>>),
                Bag(Gc<'gc, Bag<'gc>>),
                Row(Gc<'gc, [Cell<'gc>]>),
                Cell(Gc<'gc, Cell<'gc>>),
                Late(Gc<'gc, Late<'gc>>),
                Tree(Gc<'gc, Tree<'gc>>),
                Loose(Gc<'gc, Loose<'gc>>),
                Closure(Gc<'gc, Closure<'gc>>),
                Record(Gc<'gc, Record<'gc>>),
                Widget(Gc<'gc, Widget<'gc>>),
                Pair(Gc<'gc, Pair<'gc>>),
                Table(Gc<'gc, Table<'gc>>),
            }

            impl fmt::Debug for Any<'_> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    let seen = $name::look(*self);
                    write!(f, "{:?} {} at {:#x}", seen.form, seen.number, seen.address)
                }
            }

            #[derive(Clone)]
            pub(crate) enum AnyRoot {
                $($form(Root<$of>)),*
            }

            #[derive(Clone)]
            pub(crate) enum AnyWeak {
                $($form(Weak<$of>)),*
            }

            pub(crate) enum $name {}

            impl World for $name {
                type Kind = $kind;
                type Any<'gc> = Any<'gc>;
                type Root = AnyRoot;
                type Weak = AnyWeak;

                fn make<'gc>(
                    cx: &Cx<'gc, $kind>,
                    form: Form,
                    number: u64,
                    edges: &[Option<Any<'gc>>],
                    drops: &Arc<AtomicU32>,
                ) -> Any<'gc> {
                    let counted = || Counted(drops.clone());
                    match form {
                        Form::Cons => {
                            let cons = Cons::new(number, only!(edges[2], Any::Cons));
                            cons.first.set(cx, only!(edges[0], Any::Cons));
                            cons.second.set(cx, only!(edges[1], Any::Cons));
                            Any::Cons(Gc::new(cx, cons))
                        }
                        Form::Case => Any::Case(Gc::new(
                            cx,
                            Case {
                                number,
                                words: only!(edges[0], Any::Words).unwrap(),
                                text: only!(edges[1], Any::Text).unwrap(),
                                shown: only!(edges[2], Any::Shown).unwrap(),
                                plain: Slot::new(only!(edges[3], Any::Plain)),
                                case: Slot::new(only!(edges[4], Any::Case)),
                            },
                        )),
                        Form::Words => {
                            let words = edges.iter().map(|edge| Slot::new(only!(edge, Any::Cons)));
                            Any::Words(Gc::from_iter(cx, words))
                        }
                        Form::Text => Any::Text(Gc::from_str(cx, &text(number))),
                        Form::Plain => Any::Plain(Gc::new(cx, Plain { number, counted: counted() })),
                        Form::Shown => {
                            let next = Slot::new(only!(edges[0], Any::Cons));
                            Any::Shown(match number % 2 {
                                0 => Gc::map(Gc::new(cx, Small(next, number)), |it| it as &Dyn<'gc>),
                                _ => {
                                    let large = Large([number; 5], number, next);
                                    Gc::map(Gc::new(cx, large), |it| it as &Dyn<'gc>)
                                }
                            })
                        }
                        Form::Bag => {
                            let list = List::new(edges.to_vec());
                            Any::Bag(Gc::new(cx, Bag { number, list, counted: counted() }))
                        }
                        Form::Row => {
                            let cells = edges.iter().map(|&edge| Place::new(edge));
                            Any::Row(Gc::from_iter(cx, cells))
                        }
                        Form::Cell => Any::Cell(Gc::new(cx, Place::new(edges[0]))),
                        Form::Late => {
                            let late = Gc::new(cx, Late { number, later: OnceLock::new() });
                            if let Some(value) = edges[0] {
                                assert!(late.later.set(cx, value).is_ok());
                            }
                            Any::Late(late)
                        }
                        Form::Loose => {
                            let weak = Gc::downgrade(cx, only!(edges[0], Any::Cons).unwrap());
                            Any::Loose(Gc::new(cx, Loose { number, weak }))
                        }
                        Form::Closure => {
                            let slot = |edge: Option<Any<'gc>>| Slot::new(only!(edge, Any::Cons));
                            // One way or the other.
                            Any::Closure(match number % 2 {
                                0 => HeaderSlice::from_fn(cx, number, edges.len(), |n| slot(edges[n])),
                                _ => HeaderSlice::from_iter(cx, number, edges.iter().map(|&edge| slot(edge))),
                            })
                        }
                        Form::Record => {
                            let cell = |n: usize| Place::new(edges[n]);
                            let header = (number, counted());
                            Any::Record(HeaderSlice::from_fn(cx, header, edges.len(), cell))
                        }
                        Form::Widget => {
                            let next = only!(edges[0], Any::Cons);
                            let widget = cx.new_cyclic::<Widget<'static>>(|this| {
                                assert!(this.upgrade(cx).is_none());
                                let (this, next) = (this.clone(), Slot::new(next));
                                Widget { number, this, next, counted: counted() }
                            });
                            Any::Widget(widget)
                        }
                        Form::Pair => {
                            let key = only!(edges[0], Any::Cons).unwrap();
                            let value = only!(edges[1], Any::Cons).unwrap();
                            let pair = Ephemeron::new(cx, key, value);
                            Any::Pair(Gc::new(cx, Pair { number, pair }))
                        }
                        Form::Table => {
                            let map = Hold::hold(WeakMap::new());
                            Any::Table(Gc::new(cx, Table { number, map }))
                        }
                        Form::Tree => Any::Tree(Gc::new(
                            cx,
                            match (edges[0], edges[1]) {
                                (None, None) => Tree::Leaf(number),
                                (left, right) => {
                                    Tree::Fork { number, left, right: right.map(Box::new) }
                                }
                            },
                        )),
                    }
                }

                fn make_apart<'gc>(cx: &Cx<'gc, $kind>, jobs: Vec<Job<Any<'gc>>>) -> Vec<Any<'gc>> {
                    fn make<'gc>(cx: &Cx<'gc, $kind>, job: Job<Any<'gc>>) -> Any<'gc> {
                        // All read what they were given.
                        for &edge in job.edges.iter().flatten() {
                            assert_ne!($name::look(edge).address, 0);
                        }
                        $name::make(cx, job.form, job.number, &job.edges, &job.drops)
                    }
                    $apart!(cx, jobs, make)
                }

                fn look<'gc>(any: Self::Any<'gc>) -> Seen<Self::Any<'gc>> {
                    fn at<T: ?Sized>(object: Gc<'_, T>) -> usize {
                        Gc::as_ptr(object).addr()
                    }
                    let (form, address, number, edges) = match any {
                        Any::Cons(cons) => {
                            let edges = [cons.first.get(), cons.second.get(), cons.fixed];
                            let edges = edges.map(|edge| edge.map(Any::Cons)).to_vec();
                            (Form::Cons, at(cons), cons.number, edges)
                        }
                        Any::Case(case) => {
                            let edges = vec![
                                Some(Any::Words(case.words)),
                                Some(Any::Text(case.text)),
                                Some(Any::Shown(case.shown)),
                                case.plain.get().map(Any::Plain),
                                case.case.get().map(Any::Case),
                            ];
                            (Form::Case, at(case), case.number, edges)
                        }
                        Any::Words(words) => {
                            let edges = words.iter().map(|word| word.get().map(Any::Cons));
                            (Form::Words, at(words), 0, edges.collect())
                        }
                        Any::Text(text) => {
                            let number = if text.is_empty() { 0 } else { text.parse().unwrap() };
                            (Form::Text, at(text), number, vec![])
                        }
                        Any::Plain(plain) => (Form::Plain, at(plain), plain.number, vec![]),
                        Any::Shown(shown) => {
                            let edges = vec![shown.next().get().map(Any::Cons)];
                            (Form::Shown, at(shown), shown.number(), edges)
                        }
                        Any::Bag(bag) => (Form::Bag, at(bag), bag.number, bag.list.copy()),
                        Any::Row(row) => {
                            (Form::Row, at(row), 0, row.iter().map(Place::load).collect())
                        }
                        Any::Cell(cell) => (Form::Cell, at(cell), 0, vec![cell.load()]),
                        Any::Late(late) => {
                            (Form::Late, at(late), late.number, vec![late.later.get().copied()])
                        }
                        Any::Loose(loose) => (Form::Loose, at(loose), loose.number, vec![]),
                        Any::Closure(closure) => {
                            let edges = closure.slice.iter().map(|slot| slot.get().map(Any::Cons));
                            (Form::Closure, at(closure), closure.header, edges.collect())
                        }
                        Any::Record(record) => {
                            let edges = record.slice.iter().map(Place::load).collect();
                            (Form::Record, at(record), record.header.0, edges)
                        }
                        Any::Widget(widget) => {
                            let edges = vec![widget.next.get().map(Any::Cons)];
                            (Form::Widget, at(widget), widget.number, edges)
                        }
                        Any::Pair(pair) => (Form::Pair, at(pair), pair.number, vec![]),
                        Any::Table(table) => (Form::Table, at(table), table.number, vec![]),
                        Any::Tree(tree) => match tree.as_ref() {
                            Tree::Leaf(number) => {
                                (Form::Tree, at(tree), *number, vec![None, None])
                            }
                            Tree::Fork { number, left, right } => {
                                let edges = vec![*left, right.as_deref().copied()];
                                (Form::Tree, at(tree), *number, edges)
                            }
                        },
                    };
                    Seen { form, address, number, edges }
                }

                fn set<'gc>(
                    cx: &Cx<'gc, $kind>,
                    any: Any<'gc>,
                    edge: usize,
                    value: Option<Any<'gc>>,
                ) {
                    match (any, edge) {
                        (Any::Cons(cons), 0) => cons.first.set(cx, only!(value, Any::Cons)),
                        (Any::Cons(cons), 1) => cons.second.set(cx, only!(value, Any::Cons)),
                        (Any::Case(case), 3) => case.plain.set(cx, only!(value, Any::Plain)),
                        (Any::Case(case), 4) => case.case.set(cx, only!(value, Any::Case)),
                        (Any::Words(words), edge) => {
                            words[edge].set(cx, only!(value, Any::Cons));
                        }
                        (Any::Shown(shown), 0) => shown.next().set(cx, only!(value, Any::Cons)),
                        (Any::Bag(bag), edge) => bag.list.change(cx, |list| list[edge] = value),
                        (Any::Row(row), edge) => row[edge].store(cx, value),
                        (Any::Closure(closure), edge) => {
                            closure.slice[edge].set(cx, only!(value, Any::Cons));
                        }
                        (Any::Record(record), edge) => Gc::slice(record)[edge].store(cx, value),
                        (Any::Widget(widget), 0) => widget.next.set(cx, only!(value, Any::Cons)),
                        (Any::Cell(cell), 0) => cell.store(cx, value),
                        (Any::Late(late), 0) => {
                            let set = late.later.set(cx, value.expect("it is set to something"));
                            assert!(set.is_ok());
                        }
                        (other, edge) => panic!("edge {edge} of {other:?} does not change"),
                    }
                }

                fn resize<'gc>(cx: &Cx<'gc, $kind>, bag: Any<'gc>, edges: usize) {
                    let bag = only!(Some(bag), Any::Bag).unwrap();
                    bag.list.change(cx, |list| list.resize(edges, None));
                }

                fn part<'gc>(row: Self::Any<'gc>, edge: usize) -> Self::Any<'gc> {
                    let row = only!(Some(row), Any::Row).unwrap();
                    Any::Cell(Gc::map(row, |row| &row[edge]))
                }

                fn root<'gc>(cx: &Cx<'gc, $kind>, any: Any<'gc>) -> AnyRoot {
                    match any {
                        $(Any::$form(object) => AnyRoot::$form(cx.root(object)),)*
                        other => panic!("{other:?} has no handles"),
                    }
                }

                fn set_root<'gc>(cx: &Cx<'gc, $kind>, root: &AnyRoot, any: Any<'gc>) -> bool {
                    match (root, any) {
                        $((AnyRoot::$form(root), Any::$form(object)) => root.set(cx, object),)*
                        _ => return false,
                    }
                    true
                }

                fn get<'gc>(cx: &Cx<'gc, $kind>, root: &AnyRoot) -> Any<'gc> {
                    match root {
                        $(AnyRoot::$form(root) => Any::$form(root.get(cx)),)*
                    }
                }

                fn weak<'gc>(cx: &Cx<'gc, $kind>, any: Any<'gc>) -> AnyWeak {
                    match any {
                        $(Any::$form(object) => AnyWeak::$form(cx.downgrade(object)),)*
                        other => panic!("{other:?} has no handles"),
                    }
                }

                fn upgrade<'gc>(cx: &Cx<'gc, $kind>, weak: &AnyWeak) -> Option<Any<'gc>> {
                    match weak {
                        $(AnyWeak::$form(weak) => weak.upgrade(cx).map(Any::$form),)*
                    }
                }

                fn weak_target<'gc>(cx: &Cx<'gc, $kind>, loose: Any<'gc>) -> Option<Any<'gc>> {
                    match loose {
                        Any::Loose(loose) => loose.weak.upgrade(cx).map(Any::Cons),
                        Any::Widget(widget) => widget.this.upgrade(cx).map(Any::Widget),
                        other => panic!("{other:?} has no weak reference"),
                    }
                }

                fn pairs<'gc>(cx: &Cx<'gc, $kind>, any: Any<'gc>) -> Vec<(Any<'gc>, Any<'gc>)> {
                    let pairs: Vec<_> = match any {
                        Any::Pair(pair) => {
                            let pair = pair.pair;
                            pair.key(cx).zip(pair.value(cx)).into_iter().collect()
                        }
                        Any::Table(table) => table.map.see(|map| {
                            let pairs: Vec<_> = map.iter(cx).collect();
                            for &(key, value) in &pairs {
                                assert!(Gc::ptr_eq(map.get(cx, key).unwrap(), value));
                            }
                            pairs
                        }),
                        other => panic!("{other:?} has no pairs"),
                    };
                    let pairs = pairs.into_iter();
                    pairs.map(|(key, value)| (Any::Cons(key), Any::Cons(value))).collect()
                }

                fn enter<'gc>(
                    cx: &Cx<'gc, $kind>,
                    any: Any<'gc>,
                    key: Any<'gc>,
                    value: Option<Any<'gc>>,
                ) {
                    let key = only!(Some(key), Any::Cons).unwrap();
                    match (any, only!(value, Any::Cons)) {
                        (Any::Pair(pair), Some(value)) => {
                            assert!(Gc::ptr_eq(pair.pair.key(cx).unwrap(), key));
                            assert!(pair.pair.set_value(cx, value));
                        }
                        (Any::Table(table), Some(value)) => {
                            table.map.alter(cx, |map| map.insert(cx, key, value));
                        }
                        (Any::Table(table), None) => {
                            table.map.alter(cx, |map| map.remove(cx, key).unwrap());
                        }
                        (other, _) => panic!("{other:?} is no table"),
                    }
                }

                fn sweep<'gc>(cx: &Cx<'gc, $kind>, table: Any<'gc>) {
                    if let Any::Table(table) = table {
                        table.map.alter(cx, WeakMap::sweep);
                    }
                }

                fn is_dead(weak: &AnyWeak) -> bool {
                    match weak {
                        $(AnyWeak::$form(weak) => weak.is_dead(),)*
                    }
                }
            }
        }
        pub(crate) use $module::$name;
    };
}

world!(
    LocalWorld in local: Local, Lock, Lock, RefLock, Anything, in_turn;
    Cons(Cons<'static>) Case(Case<'static>) Plain(Plain) Bag(Bag<'static>) Cell(Cell<'static>)
    Late(Late<'static>) Tree(Tree<'static>) Loose(Loose<'static>) Widget(Widget<'static>)
    Pair(Pair<'static>) Table(Table<'static>)
);

world!(
    SharedWorld in shared: Shared, Slot, SharedLock, SharedLock, Shareable, on_threads;
    Cons(Cons<'static>) Case(Case<'static>) Plain(Plain) Bag(Bag<'static>) Cell(Cell<'static>)
    Late(Late<'static>) Tree(Tree<'static>) Loose(Loose<'static>) Widget(Widget<'static>)
    Pair(Pair<'static>) Table(Table<'static>)
);
