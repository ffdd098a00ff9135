//! What a Scheme value is: immediate, or a reference to an object of the heap.
//!
//! [`Value`] is two words and `Copy`. Everything else here is the layout of an object. Objects never move, so that
//! identity is the address, and a table may be keyed by it for as long as it keeps the object.

use crate::code::Code;
use crate::environment::{Environment, Global};
use crate::machine::Continuation;
use crate::outside::Outside;
use crate::port::Port;
use crate::primitive::Primitive;
use crate::syntax::Alias;
use crate::table::Table;
use mallocgc::typed::{AllocError, Cx, Gc, Lock, RefLock, Static, Trace, Weak};
use num_bigint::BigInt;
use num_rational::BigRational;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

/// A Scheme value, or something that the machine keeps among values.
///
/// Whatever a kind holds is one word, a number or a reference: so a value is passed, loaded and stored as two words in
/// registers, and never copied as memory.
#[derive(Clone, Copy, Trace)]
pub(crate) enum Value<'gc> {
    Nil,
    Unspecified,
    /// What a variable holds before it is initialized.
    Undefined,
    Eof,
    False,
    True,
    Fixnum(i64),
    Flonum(Float),
    Char(Char),
    Primitive(&'static Primitive),
    Pair(Gc<'gc, Pair<'gc>>),
    Symbol(Gc<'gc, Symbol<'gc>>),
    Text(Gc<'gc, Text<'gc>>),
    Big(Gc<'gc, Static<Outside<BigInt>>>),
    Ratio(Gc<'gc, Static<Outside<BigRational>>>),
    Vector(Gc<'gc, Vector<'gc>>),
    Bytes(Gc<'gc, Bytes<'gc>>),
    Closure(Gc<'gc, Closure<'gc>>),
    Continuation(Gc<'gc, Continuation<'gc>>),
    Parameter(Gc<'gc, Parameter<'gc>>),
    Promise(Gc<'gc, Promise<'gc>>),
    Record(Gc<'gc, Record<'gc>>),
    RecordType(Gc<'gc, RecordType<'gc>>),
    Condition(Gc<'gc, Condition<'gc>>),
    Port(Gc<'gc, Port>),
    Environment(Gc<'gc, Environment<'gc>>),
    WeakPair(Gc<'gc, WeakPair<'gc>>),
    Guardian(Gc<'gc, Guardian<'gc>>),
    Table(Gc<'gc, Table<'gc>>),
    /// Several values at once, what `values` returns.
    Values(Gc<'gc, Vector<'gc>>),
    /// An identifier that a macro put in.
    Alias(Gc<'gc, Alias<'gc>>),
    /// A variable that closures share and somebody sets.
    Boxed(Gc<'gc, Lock<Value<'gc>>>),
    Global(Gc<'gc, Global<'gc>>),
    Code(Gc<'gc, Code<'gc>>),
    /// On the stack: where a call returns to.
    Return(ReturnTo),
}

const _: () = assert!(size_of::<Value<'_>>() == 16);

/// A number with a fraction, by its bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Trace)]
pub(crate) struct Float(u64);

impl Float {
    #[inline]
    pub(crate) fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// A character, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Trace)]
pub(crate) struct Char(u64);

impl Char {
    #[inline]
    pub(crate) fn get(self) -> char {
        char::from_u32(self.0 as u32).expect("it was made of one")
    }
}

/// Where a call returns to.
#[derive(Clone, Copy, Trace)]
pub(crate) struct ReturnTo(u64);

impl ReturnTo {
    /// The place in the code, and how far below the frame is.
    #[inline]
    pub(crate) fn new(pc: u32, back: u32) -> ReturnTo {
        ReturnTo(u64::from(pc) << 32 | u64::from(back))
    }

    #[inline]
    pub(crate) fn pc(self) -> usize {
        (self.0 >> 32) as usize
    }

    #[inline]
    pub(crate) fn back(self) -> usize {
        self.0 as u32 as usize
    }
}

impl From<bool> for Value<'_> {
    #[inline]
    fn from(value: bool) -> Self {
        if value { Value::True } else { Value::False }
    }
}

impl From<f64> for Value<'_> {
    #[inline]
    fn from(value: f64) -> Self {
        Value::Flonum(Float(value.to_bits()))
    }
}

impl From<char> for Value<'_> {
    #[inline]
    fn from(value: char) -> Self {
        Value::Char(Char(value.into()))
    }
}

/// Elements that can be replaced.
pub(crate) type Elements<'gc> = Gc<'gc, [Lock<Value<'gc>>]>;

#[derive(Trace)]
pub(crate) struct Pair<'gc> {
    pub(crate) first: Lock<Value<'gc>>,
    pub(crate) rest: Lock<Value<'gc>>,
}

#[derive(Trace)]
pub(crate) struct Symbol<'gc> {
    pub(crate) name: Gc<'gc, str>,
    pub(crate) number: u32,
}

/// A string. Operations that change its length replace `chars`.
#[derive(Trace)]
pub(crate) struct Text<'gc> {
    pub(crate) chars: Lock<Gc<'gc, [Lock<char>]>>,
}

#[derive(Trace)]
pub(crate) struct Vector<'gc> {
    pub(crate) items: Elements<'gc>,
}

#[derive(Trace)]
pub(crate) struct Bytes<'gc> {
    pub(crate) items: Gc<'gc, [Lock<u8>]>,
}

#[derive(Trace)]
pub(crate) struct Closure<'gc> {
    pub(crate) code: Gc<'gc, Code<'gc>>,
    pub(crate) free: Elements<'gc>,
}

#[derive(Trace)]
pub(crate) struct Parameter<'gc> {
    pub(crate) value: Lock<Value<'gc>>,
    pub(crate) converter: Value<'gc>,
}

/// A promise. Its state is shared by all promises of a chain of `delay-force`.
#[derive(Trace)]
pub(crate) struct Promise<'gc> {
    pub(crate) state: Lock<Gc<'gc, PromiseState<'gc>>>,
}

#[derive(Trace)]
pub(crate) struct PromiseState<'gc> {
    pub(crate) done: Lock<bool>,
    /// The value, or the procedure that makes it.
    pub(crate) value: Lock<Value<'gc>>,
}

#[derive(Trace)]
pub(crate) struct RecordType<'gc> {
    pub(crate) name: Value<'gc>,
    pub(crate) fields: Elements<'gc>,
}

#[derive(Trace)]
pub(crate) struct Record<'gc> {
    pub(crate) kind: Gc<'gc, RecordType<'gc>>,
    pub(crate) fields: Elements<'gc>,
}

/// What kind of error a condition is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Trace)]
pub(crate) enum Kind {
    /// From the procedure `error`.
    User,
    /// A primitive was called wrongly.
    Primitive,
    File,
    Read,
    Syntax,
    OutOfMemory,
}

#[derive(Trace)]
pub(crate) struct Condition<'gc> {
    pub(crate) kind: Kind,
    pub(crate) message: Value<'gc>,
    pub(crate) irritants: Value<'gc>,
    /// Line and column of the call, 0 if unknown.
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A pair whose first field does not keep its object alive.
#[derive(Trace)]
pub(crate) struct WeakPair<'gc> {
    pub(crate) key: Lock<Value<'gc>>,
    pub(crate) weak: Option<WeakValue>,
    pub(crate) rest: Lock<Value<'gc>>,
}

/// A weak handle of an object, by its kind.
#[derive(Clone, Trace)]
pub(crate) enum WeakValue {
    Pair(Weak<Pair<'static>>),
    Text(Weak<Text<'static>>),
    Vector(Weak<Vector<'static>>),
    Closure(Weak<Closure<'static>>),
    Record(Weak<Record<'static>>),
    Bytes(Weak<Bytes<'static>>),
}

/// Tells which objects are gone, by their representatives: a cleanup cannot hold its object.
#[derive(Trace)]
pub(crate) struct Guardian<'gc> {
    /// Numbers of representatives whose objects are gone, from the heap's thread.
    pub(crate) dead: Arc<Mutex<VecDeque<u64>>>,
    pub(crate) waiting: RefLock<HashMap<u64, Value<'gc>>>,
}

/// Why a primitive has no result.
pub(crate) enum Fault<'gc> {
    Alloc(AllocError),
    Error(Box<Report<'gc>>),
    /// Something was raised and nobody handled it.
    Uncaught(Value<'gc>),
    Exit(i32),
    /// The program asks for a collection; it goes on behind the call.
    Collect,
}

/// What a condition will say.
pub(crate) struct Report<'gc> {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) irritants: Vec<Value<'gc>>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl From<AllocError> for Fault<'_> {
    fn from(error: AllocError) -> Self {
        Fault::Alloc(error)
    }
}

/// A result, or why there is none.
pub(crate) type Outcome<'gc, T = Value<'gc>> = Result<T, Fault<'gc>>;

/// An error of a kind.
pub(crate) fn fault<'gc>(
    kind: Kind,
    message: impl Into<String>,
    irritants: &[Value<'gc>],
) -> Fault<'gc> {
    let report =
        Report { kind, message: message.into(), irritants: irritants.to_vec(), line: 0, column: 0 };
    Fault::Error(Box::new(report))
}

/// A primitive's argument is not what it must be.
#[cold]
pub(crate) fn wrong<'gc>(expected: &str, got: Value<'gc>) -> Fault<'gc> {
    fault(Kind::Primitive, format!("expected {expected}, got"), &[got])
}

impl<'gc> Value<'gc> {
    pub(crate) fn is_true(self) -> bool {
        !matches!(self, Value::False)
    }

    /// Identity, as of `eq?`.
    pub(crate) fn is(self, other: Value<'gc>) -> bool {
        use Value::*;
        match (self, other) {
            (Nil, Nil) | (Unspecified, Unspecified) | (Undefined, Undefined) | (Eof, Eof) => true,
            (True, True) | (False, False) => true,
            (Fixnum(a), Fixnum(b)) => a == b,
            (Flonum(a), Flonum(b)) => a == b,
            (Char(a), Char(b)) => a == b,
            (Primitive(a), Primitive(b)) => std::ptr::eq(a, b),
            _ => matches!((self.address(), other.address()), (Some(a), Some(b)) if a == b),
        }
    }

    /// The object's address, if it is one.
    pub(crate) fn address(self) -> Option<usize> {
        use Value::*;
        macro_rules! objects {
            ($($kind:ident)*) => {
                match self {
                    $($kind(object) => Some(Gc::as_ptr(object).cast::<u8>().addr()),)*
                    _ => None,
                }
            };
        }
        objects!(Pair Symbol Text Big Ratio Vector Bytes Closure Continuation Parameter Promise Record RecordType
            Condition Port Environment WeakPair Guardian Table Values Alias Boxed Global Code)
    }

    /// Equality of numbers, and identity of all others: `eqv?`.
    pub(crate) fn is_equivalent(self, other: Value<'gc>) -> bool {
        match (self, other) {
            (Value::Big(a), Value::Big(b)) => a.0 == b.0,
            (Value::Ratio(a), Value::Ratio(b)) => a.0 == b.0,
            (Value::Text(a), Value::Text(b)) => Gc::ptr_eq(a, b),
            _ => self.is(other),
        }
    }

    /// The pair, or an error.
    pub(crate) fn pair(self) -> Outcome<'gc, Gc<'gc, Pair<'gc>>> {
        match self {
            Value::Pair(pair) => Ok(pair),
            other => Err(wrong("a pair", other)),
        }
    }

    pub(crate) fn symbol(self) -> Outcome<'gc, Gc<'gc, Symbol<'gc>>> {
        match self {
            Value::Symbol(symbol) => Ok(symbol),
            other => Err(wrong("a symbol", other)),
        }
    }

    /// A number of elements, or an index.
    pub(crate) fn index(self) -> Outcome<'gc, usize> {
        match self {
            Value::Fixnum(n) if n >= 0 => Ok(n as usize),
            other => Err(wrong("an index", other)),
        }
    }

    pub(crate) fn char(self) -> Outcome<'gc, char> {
        match self {
            Value::Char(c) => Ok(c.get()),
            other => Err(wrong("a character", other)),
        }
    }

    pub(crate) fn text(self) -> Outcome<'gc, Gc<'gc, Text<'gc>>> {
        match self {
            Value::Text(text) => Ok(text),
            other => Err(wrong("a string", other)),
        }
    }

    pub(crate) fn vector(self) -> Outcome<'gc, &'gc [Lock<Value<'gc>>]> {
        match self {
            Value::Vector(vector) => Ok(vector.as_ref().items.as_ref()),
            other => Err(wrong("a vector", other)),
        }
    }

    pub(crate) fn bytes(self) -> Outcome<'gc, &'gc [Lock<u8>]> {
        match self {
            Value::Bytes(bytes) => Ok(bytes.as_ref().items.as_ref()),
            other => Err(wrong("a bytevector", other)),
        }
    }

    pub(crate) fn is_procedure(self) -> bool {
        matches!(
            self,
            Value::Primitive(_)
                | Value::Closure(_)
                | Value::Continuation(_)
                | Value::Parameter(_)
                | Value::Guardian(_)
        )
    }

    /// The elements of a proper list.
    pub(crate) fn list(self) -> Outcome<'gc, Vec<Value<'gc>>> {
        let mut all = Vec::new();
        let mut at = self;
        while let Value::Pair(pair) = at {
            all.push(pair.first.get());
            at = pair.rest.get();
        }
        match at {
            Value::Nil => Ok(all),
            _ => Err(wrong("a list", self)),
        }
    }
}

/// A new pair.
#[inline]
pub(crate) fn cons<'gc>(cx: &Cx<'gc>, first: Value<'gc>, rest: Value<'gc>) -> Outcome<'gc> {
    let pair = Pair { first: Lock::new(first), rest: Lock::new(rest) };
    Ok(Value::Pair(Gc::try_new(cx, pair)?))
}

/// A list of values that ends in `tail`.
pub(crate) fn list_with_tail<'gc>(
    cx: &Cx<'gc>,
    values: &[Value<'gc>],
    tail: Value<'gc>,
) -> Outcome<'gc> {
    values.iter().rev().try_fold(tail, |rest, &first| cons(cx, first, rest))
}

/// A list of values.
pub(crate) fn list<'gc>(cx: &Cx<'gc>, values: &[Value<'gc>]) -> Outcome<'gc> {
    list_with_tail(cx, values, Value::Nil)
}

/// Elements of a vector, a closure, a record.
pub(crate) fn elements<'gc, I>(cx: &Cx<'gc>, values: I) -> Outcome<'gc, Elements<'gc>>
where
    I: IntoIterator<Item = Value<'gc>>,
    I::IntoIter: ExactSizeIterator,
{
    Ok(Gc::try_from_iter(cx, values.into_iter().map(Lock::new))?)
}

/// A vector of values.
pub(crate) fn vector<'gc, I>(cx: &Cx<'gc>, values: I) -> Outcome<'gc>
where
    I: IntoIterator<Item = Value<'gc>>,
    I::IntoIter: ExactSizeIterator,
{
    let items = elements(cx, values)?;
    Ok(Value::Vector(Gc::try_new(cx, Vector { items })?))
}

/// A bytevector.
pub(crate) fn bytes<'gc, I>(cx: &Cx<'gc>, values: I) -> Outcome<'gc>
where
    I: IntoIterator<Item = u8>,
    I::IntoIter: ExactSizeIterator,
{
    let items = Gc::try_from_iter(cx, values.into_iter().map(Lock::new))?;
    Ok(Value::Bytes(Gc::try_new(cx, Bytes { items })?))
}

/// A string of characters.
pub(crate) fn text_of<'gc, I>(cx: &Cx<'gc>, chars: I) -> Outcome<'gc>
where
    I: IntoIterator<Item = char>,
    I::IntoIter: ExactSizeIterator,
{
    let chars = Gc::try_from_iter(cx, chars.into_iter().map(Lock::new))?;
    Ok(Value::Text(Gc::try_new(cx, Text { chars: Lock::new(chars) })?))
}

/// A string.
pub(crate) fn text<'gc>(cx: &Cx<'gc>, string: &str) -> Outcome<'gc> {
    let chars: Vec<char> = string.chars().collect();
    text_of(cx, chars)
}

/// What a string says.
pub(crate) fn to_string(text: Gc<'_, Text<'_>>) -> String {
    text.chars.get().iter().map(Lock::get).collect()
}
