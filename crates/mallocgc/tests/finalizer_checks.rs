//! The ten checks of the origin's `SetFinalizer`, each with its own error.

#![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "tests on objects they made")]

mod support;

use mallocgc::raw::{
    AllocFlags, Config, DynamicFinalizer, FinalizerArgument, FinalizerError, Force, Heap, Layout,
    Mutator, Placement, TypeDescriptor, TypeKind, TypeLayout,
};
use std::ptr::{NonNull, null_mut};
use std::sync::{Arc, Mutex};

const fn plain(name: &'static str, size_bytes: usize, has_references: bool) -> TypeDescriptor {
    let kind = TypeKind::Other;
    TypeDescriptor { name, named: true, size_bytes, has_references, methods: &[], kind }
}

const fn pointer(
    name: &'static str,
    named: bool,
    elem: Option<&'static TypeDescriptor>,
    methods: &'static [&'static str],
) -> TypeDescriptor {
    let kind = TypeKind::Pointer { elem };
    TypeDescriptor { name, named, size_bytes: 8, has_references: true, methods, kind }
}

const fn function(
    name: &'static str,
    params: &'static [&'static TypeDescriptor],
    variadic: bool,
    results: &'static [&'static TypeDescriptor],
) -> TypeDescriptor {
    let kind = TypeKind::Function { params, variadic, results };
    TypeDescriptor { name, named: false, size_bytes: 8, has_references: true, methods: &[], kind }
}

const fn interface(name: &'static str, methods: &'static [&'static str]) -> TypeDescriptor {
    let kind = TypeKind::Interface { methods };
    TypeDescriptor { name, named: true, size_bytes: 16, has_references: true, methods, kind }
}

static INT: TypeDescriptor = plain("int", 8, false);
static NODE: TypeDescriptor = plain("Node", 32, true);
static POINT: TypeDescriptor = plain("Point", 16, false);
static INT_PTR: TypeDescriptor = pointer("*int", false, Some(&INT), &[]);
static NODE_PTR: TypeDescriptor = pointer("*Node", false, Some(&NODE), &["Close", "Name"]);
static NODE_REF: TypeDescriptor = pointer("NodeRef", true, Some(&NODE), &[]);
static NODE_REF_2: TypeDescriptor = pointer("NodeRef2", true, Some(&NODE), &[]);
static POINT_PTR: TypeDescriptor = pointer("*Point", false, Some(&POINT), &[]);
static NO_ELEM: TypeDescriptor = pointer("*?", false, None, &[]);
static ANY: TypeDescriptor = interface("any", &[]);
static CLOSER: TypeDescriptor = interface("Closer", &["Close"]);
static WRITER: TypeDescriptor = interface("Writer", &["Write", "Close"]);

static TAKES_NODE: TypeDescriptor = function("func(*Node)", &[&NODE_PTR], false, &[]);
static TAKES_NODE_GIVES: TypeDescriptor =
    function("func(*Node) (int, any)", &[&NODE_PTR], false, &[&INT, &ANY]);
static TAKES_REF: TypeDescriptor = function("func(NodeRef)", &[&NODE_REF], false, &[]);
static TAKES_REF_2: TypeDescriptor = function("func(NodeRef2)", &[&NODE_REF_2], false, &[]);
static TAKES_INT_PTR: TypeDescriptor = function("func(*int)", &[&INT_PTR], false, &[]);
static TAKES_INT: TypeDescriptor = function("func(int)", &[&INT], false, &[]);
static TAKES_ANY: TypeDescriptor = function("func(any)", &[&ANY], false, &[]);
static TAKES_CLOSER: TypeDescriptor = function("func(Closer)", &[&CLOSER], false, &[]);
static TAKES_WRITER: TypeDescriptor = function("func(Writer)", &[&WRITER], false, &[]);
static TAKES_NOTHING: TypeDescriptor = function("func()", &[], false, &[]);
static TAKES_TWO: TypeDescriptor =
    function("func(*Node, *Node)", &[&NODE_PTR, &NODE_PTR], false, &[]);
static TAKES_ANY_NUMBER: TypeDescriptor = function("func(...*Node)", &[&NODE_PTR], true, &[]);

type Seen = Arc<Mutex<Vec<String>>>;

fn recording(seen: &Seen) -> DynamicFinalizer {
    let seen = seen.clone();
    Box::new(move |_, argument| {
        seen.lock().expect("no panic").push(match argument {
            FinalizerArgument::Pointer(_) => "pointer".to_owned(),
            FinalizerArgument::Interface { value_type, interface, .. } => {
                format!("{} as {}", value_type.name, interface.name)
            }
        });
    })
}

struct Place {
    heap: Heap,
    m: Mutator,
    seen: Seen,
}

impl Place {
    fn new() -> Place {
        let heap = support::heap_with(Config { background: false, ..support::manual() });
        Place { m: heap.attach().expect("a mutator"), heap, seen: Seen::default() }
    }

    fn node(&self) -> *mut u8 {
        let layout = self.heap.layout(&TypeLayout::mask(4, 0b0011)).expect("a layout");
        self.m.mallocgc(32, layout, AllocFlags::NONE).expect("memory").as_ptr()
    }

    fn noscan(&self, size: usize) -> *mut u8 {
        self.m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).expect("memory").as_ptr()
    }

    fn set(
        &self,
        object: Option<(&'static TypeDescriptor, *mut u8)>,
        finalizer: &'static TypeDescriptor,
    ) -> Result<Placement, FinalizerError> {
        self.m.set_finalizer_dynamic(object, Some((finalizer, recording(&self.seen))))
    }

    fn run(&mut self) -> Vec<String> {
        self.m.gc(Force::NowAndSweep).expect("a collection");
        self.m.run_finalizers(usize::MAX);
        std::mem::take(&mut *self.seen.lock().expect("no panic"))
    }
}

fn text(error: FinalizerError) -> String {
    error.to_string()
}

#[test]
fn check_1_first_argument_nil() {
    let place = Place::new();
    let error = place.set(None, &TAKES_NODE).expect_err("nil");
    assert_eq!(error, FinalizerError::FirstArgumentNil);
    assert_eq!(text(error), "set_finalizer: first argument is nil");
    let removed = place.m.set_finalizer_dynamic(None, None);
    assert_eq!(removed, Err(FinalizerError::FirstArgumentNil), "also to remove");
}

#[test]
fn check_2_first_argument_is_no_pointer() {
    let place = Place::new();
    for argument in [&INT, &NODE, &TAKES_NODE, &ANY] {
        let error = place.set(Some((argument, place.node())), &TAKES_NODE).expect_err("no pointer");
        assert_eq!(error, FinalizerError::FirstArgumentNotPointer { argument: argument.name });
        assert!(text(error).contains(&format!("first argument is {}, not", argument.name)));
    }
}

#[test]
fn check_3_pointer_type_without_element() {
    let place = Place::new();
    let error = place.set(Some((&NO_ELEM, place.node())), &TAKES_NODE).expect_err("no element");
    assert_eq!(error, FinalizerError::NoElementType { argument: "*?" });
}

#[test]
fn check_4_pointer_not_in_an_allocated_object() {
    static GLOBAL: [u64; 4] = [0; 4];
    let mut place = Place::new();
    let mut local = [0u64; 4];
    let global = (&raw const GLOBAL).cast_mut().cast::<u8>();
    for foreign in [null_mut(), (&raw mut local).cast(), global] {
        let error = place.set(Some((&NODE_PTR, foreign)), &TAKES_NODE).expect_err("foreign");
        assert!(matches!(error, FinalizerError::NotAllocated { .. }));
        assert!(text(error).contains("in no allocated object"));
    }
    let dead = place.node();
    place.run();
    let error = place.set(Some((&NODE_PTR, dead)), &TAKES_NODE).expect_err("freed");
    assert!(matches!(error, FinalizerError::NotAllocated { .. }));
    // The zero base and statics are accepted silently, before the function is
    // looked at.
    let zero = place.heap.zero_base().as_ptr();
    assert_eq!(place.set(Some((&NODE_PTR, zero)), &INT), Ok(Placement::Immortal));
    place.heap.register_static_range(global, size_of_val(&GLOBAL));
    assert_eq!(place.set(Some((&NODE_PTR, global)), &INT), Ok(Placement::Immortal));
}

#[test]
fn check_5_pointer_not_at_the_begin() {
    let mut place = Place::new();
    let node = place.node();
    let inside = unsafe { node.add(16) };
    let error = place.set(Some((&NODE_PTR, inside)), &TAKES_NODE).expect_err("inside");
    assert!(matches!(error, FinalizerError::NotAtBeginning { .. }));
    assert!(text(error).contains("not at the begin"));
    // Sixteen bytes without references are not tiny.
    let point = unsafe { place.noscan(16).add(8) };
    let error = place.set(Some((&POINT_PTR, point)), &TAKES_ANY).expect_err("inside");
    assert!(matches!(error, FinalizerError::NotAtBeginning { .. }));
    // A small pointer-free element may lie inside, of whatever: the origin
    // looks at the type alone.
    let field = place.set(Some((&INT_PTR, inside)), &TAKES_INT_PTR);
    assert_eq!(field, Ok(Placement::Own));
    let tiny = place.set(Some((&INT_PTR, place.noscan(8))), &TAKES_INT_PTR);
    assert!(matches!(tiny, Ok(Placement::SharedBlock { .. })));
    assert_eq!(place.run().len(), 2);
}

#[test]
fn check_6_nil_finalizer_removes_after_the_checks_of_the_place() {
    let mut place = Place::new();
    let node = place.node();
    let object = Some((&NODE_PTR, node));
    place.set(object, &TAKES_NODE).expect("set");
    place.m.set_finalizer_dynamic(object, None).expect("removed");
    place.m.set_finalizer_dynamic(object, None).expect("there is none");
    assert!(place.set(object, &TAKES_NODE).is_ok(), "set, clear, set");
    place.m.set_finalizer_dynamic(object, None).expect("removed");
    let inside = Some((&NODE_PTR, unsafe { node.add(8) }));
    let error = place.m.set_finalizer_dynamic(inside, None).expect_err("inside");
    assert!(matches!(error, FinalizerError::NotAtBeginning { .. }));
    assert!(place.run().is_empty());
}

#[test]
fn check_7_second_argument_is_no_function() {
    let place = Place::new();
    for finalizer in [&INT, &NODE_PTR, &ANY] {
        let error = place.set(Some((&NODE_PTR, place.node())), finalizer).expect_err("no function");
        assert_eq!(error, FinalizerError::NotAFunction { finalizer: finalizer.name });
        assert!(text(error).contains(&format!("second argument is {}, not", finalizer.name)));
    }
}

#[test]
fn check_8_function_of_another_number_of_parameters() {
    let place = Place::new();
    for (finalizer, count) in [(&TAKES_NOTHING, 0), (&TAKES_TWO, 2)] {
        let error = place.set(Some((&NODE_PTR, place.node())), finalizer).expect_err("count");
        let (argument, name) = ("*Node", finalizer.name);
        assert_eq!(error, FinalizerError::ParameterCount { argument, finalizer: name, count });
        assert!(text(error).contains(&format!("cannot pass *Node to finalizer {name}")));
    }
    let error =
        place.set(Some((&NODE_PTR, place.node())), &TAKES_ANY_NUMBER).expect_err("variadic");
    let finalizer = "func(...*Node)";
    assert_eq!(error, FinalizerError::Variadic { argument: "*Node", finalizer });
    assert!(text(error).contains("cannot pass *Node to finalizer func(...*Node)"));
}

/// FinalizerType: which parameters take which arguments.
#[test]
fn check_9_parameter_must_take_the_argument() {
    let mut place = Place::new();
    let cases: [(&TypeDescriptor, &TypeDescriptor, Option<&str>); 11] = [
        (&NODE_PTR, &TAKES_NODE, Some("pointer")),
        (&NODE_PTR, &TAKES_NODE_GIVES, Some("pointer")),
        // Equal elements, and one of the two types unnamed.
        (&NODE_PTR, &TAKES_REF, Some("pointer")),
        (&NODE_REF, &TAKES_NODE, Some("pointer")),
        (&NODE_REF, &TAKES_REF, Some("pointer")),
        (&NODE_REF, &TAKES_REF_2, None),
        (&NODE_PTR, &TAKES_INT_PTR, None),
        (&NODE_PTR, &TAKES_INT, None),
        (&NODE_PTR, &TAKES_ANY, Some("*Node as any")),
        (&NODE_PTR, &TAKES_CLOSER, Some("*Node as Closer")),
        (&NODE_PTR, &TAKES_WRITER, None),
    ];
    for (argument, finalizer, expected) in cases {
        let result = place.set(Some((argument, place.node())), finalizer);
        let what = format!("{} to {}", argument.name, finalizer.name);
        match expected {
            Some(seen) => {
                assert_eq!(result, Ok(Placement::Own), "{what}");
                assert_eq!(place.run(), [seen], "{what}");
            }
            None => {
                let error = result.expect_err(&what);
                assert!(matches!(error, FinalizerError::NotAssignable { .. }), "{what}");
                assert!(text(error).contains("cannot pass"), "{what}");
            }
        }
    }
    let error = place.set(Some((&NODE_REF, place.node())), &TAKES_CLOSER).expect_err("no methods");
    assert!(matches!(error, FinalizerError::NotAssignable { parameter: "Closer", .. }));
}

#[test]
fn check_10_finalizer_already_set() {
    let mut place = Place::new();
    let object = Some((&NODE_PTR, place.node()));
    place.set(object, &TAKES_NODE).expect("set");
    for _ in 0..2 {
        let error = place.set(object, &TAKES_ANY).expect_err("set twice");
        assert!(matches!(error, FinalizerError::AlreadySet { .. }));
        assert!(text(error).contains("has a finalizer already"));
    }
    assert_eq!(place.run(), ["pointer"], "the first still runs, once");
    assert!(place.run().is_empty());
}

/// InterfaceBig: the value that an interface holds arrives whole.
#[test]
fn an_interface_parameter_gets_the_object_and_its_type() {
    let mut place = Place::new();
    let big = place.noscan(4096);
    unsafe { big.add(4000).write(17) };
    let seen = Arc::new(Mutex::new(None));
    let sent = seen.clone();
    let finalizer: DynamicFinalizer = Box::new(move |_, argument| {
        let FinalizerArgument::Interface { value, value_type, .. } = argument else {
            panic!("{argument:?}");
        };
        let byte = unsafe { value.add(4000).read() };
        *sent.lock().expect("no panic") = Some((value_type.name, byte));
    });
    let set = place.m.set_finalizer_dynamic(Some((&POINT_PTR, big)), Some((&TAKES_ANY, finalizer)));
    assert_eq!(set, Ok(Placement::Own));
    place.run();
    assert_eq!(*seen.lock().expect("no panic"), Some(("*Point", 17)));
}

#[test]
fn refused_functions_are_dropped() {
    let place = Place::new();
    for finalizer in [&INT, &TAKES_TWO, &TAKES_WRITER] {
        place.set(Some((&NODE_PTR, place.node())), finalizer).expect_err("refused");
        assert_eq!(Arc::strong_count(&place.seen), 1);
    }
    assert_eq!(place.heap.special_counts().finalizers_set, 0);
    assert!(NonNull::new(place.node()).is_some());
}
