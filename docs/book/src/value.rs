//! Values, and the objects that some of them lead to. Chapter 1.

use crate::code::Lambda;
use crate::machine::{Frames, State};
use crate::primitive::Primitive;
use crate::table::Table;
use crate::weak::{Guardian, WeakBox};
use mallocgc::typed::{AllocError, Cx, Gc, Lock, Trace};

/// A value of the Lisp: two words, copied freely.
#[derive(Clone, Copy, Trace)]
pub enum Value<'gc> {
    /// The empty list.
    Nil,
    /// What `define` and its like return.
    Nothing,
    Bool(bool),
    Number(i64),
    Symbol(Gc<'gc, Symbol<'gc>>),
    Pair(Gc<'gc, Pair<'gc>>),
    Text(Gc<'gc, Text<'gc>>),
    Vector(Gc<'gc, Vector<'gc>>),
    Table(Gc<'gc, Table<'gc>>),
    Primitive(&'static Primitive),
    Closure(Gc<'gc, Closure<'gc>>),
    /// What was left to do when `call/cc` was called.
    Continuation(Frames<'gc>),
    Condition(Gc<'gc, Condition<'gc>>),
    Weak(Gc<'gc, WeakBox>),
    Guardian(Gc<'gc, Guardian<'gc>>),
}

/// Two values that can be replaced.
#[derive(Trace)]
pub struct Pair<'gc> {
    pub first: Lock<Value<'gc>>,
    pub rest: Lock<Value<'gc>>,
}

/// A name; there is one symbol of each. The global variable of that name lives in it.
#[derive(Trace)]
pub struct Symbol<'gc> {
    pub name: Gc<'gc, str>,
    pub global: Lock<Option<Value<'gc>>>,
}

/// A string. It does not change.
#[derive(Trace)]
pub struct Text<'gc> {
    pub text: Gc<'gc, str>,
}

/// Values that can be replaced, found by number.
#[derive(Trace)]
pub struct Vector<'gc> {
    pub items: Gc<'gc, [Lock<Value<'gc>>]>,
}

/// A procedure of the program: code, and the variables around it.
#[derive(Trace)]
pub struct Closure<'gc> {
    pub lambda: Gc<'gc, Lambda<'gc>>,
    pub scope: Scope<'gc>,
}

/// The variables of one call, and of the calls around it.
#[derive(Trace)]
pub struct Variables<'gc> {
    pub values: Gc<'gc, [Lock<Value<'gc>>]>,
    pub outer: Scope<'gc>,
}

/// The innermost variables, if there are any but the global ones.
pub type Scope<'gc> = Option<Gc<'gc, Variables<'gc>>>;

/// What went wrong.
#[derive(Trace)]
pub struct Condition<'gc> {
    pub message: Gc<'gc, str>,
    /// What it went wrong with.
    pub culprit: Value<'gc>,
}

/// Why there is no result.
pub enum Fault<'gc> {
    /// There is no memory.
    Memory(AllocError),
    /// The program raised a value.
    Raised(Value<'gc>),
    /// What was asked for cannot be done with a value: it is to become a condition.
    Wrong(String, Value<'gc>),
    /// The heap is to be collected; after that the program goes on here.
    Collect(State<'gc>),
}

/// A result, or why there is none.
pub type Outcome<'gc, T = Value<'gc>> = Result<T, Fault<'gc>>;

impl From<AllocError> for Fault<'_> {
    fn from(error: AllocError) -> Self {
        Fault::Memory(error)
    }
}

/// Something is not what it should be.
pub fn wrong<'gc, T>(message: &str, culprit: Value<'gc>) -> Outcome<'gc, T> {
    Err(Fault::Wrong(message.to_string(), culprit))
}

impl<'gc> Value<'gc> {
    pub fn is_true(self) -> bool {
        !matches!(self, Value::Bool(false))
    }

    /// Whether both are the same number, or the same object.
    pub fn is(self, other: Value<'gc>) -> bool {
        use Value::*;
        match (self, other) {
            (Nil, Nil) | (Nothing, Nothing) => true,
            (Bool(a), Bool(b)) => a == b,
            (Number(a), Number(b)) => a == b,
            (Primitive(a), Primitive(b)) => std::ptr::eq(a, b),
            (Continuation(None), Continuation(None)) => true,
            _ => matches!((self.address(), other.address()), (Some(a), Some(b)) if a == b),
        }
    }

    /// Where the object is, if it is one. It stays there.
    pub fn address(self) -> Option<usize> {
        use Value::*;
        let address = match self {
            Symbol(object) => Gc::as_ptr(object).addr(),
            Pair(object) => Gc::as_ptr(object).addr(),
            Text(object) => Gc::as_ptr(object).addr(),
            Vector(object) => Gc::as_ptr(object).addr(),
            Table(object) => Gc::as_ptr(object).addr(),
            Closure(object) => Gc::as_ptr(object).addr(),
            Continuation(Some(object)) => Gc::as_ptr(object).addr(),
            Condition(object) => Gc::as_ptr(object).addr(),
            Weak(object) => Gc::as_ptr(object).addr(),
            Guardian(object) => Gc::as_ptr(object).addr(),
            Nil | Nothing | Bool(_) | Number(_) | Primitive(_) | Continuation(None) => return None,
        };
        Some(address)
    }

    pub fn number(self) -> Outcome<'gc, i64> {
        match self {
            Value::Number(number) => Ok(number),
            other => wrong("not a number:", other),
        }
    }

    pub fn pair(self) -> Outcome<'gc, Gc<'gc, Pair<'gc>>> {
        match self {
            Value::Pair(pair) => Ok(pair),
            other => wrong("not a pair:", other),
        }
    }

    pub fn symbol(self) -> Outcome<'gc, Gc<'gc, Symbol<'gc>>> {
        match self {
            Value::Symbol(symbol) => Ok(symbol),
            other => wrong("not a symbol:", other),
        }
    }

    pub fn text(self) -> Outcome<'gc, &'gc str> {
        match self {
            Value::Text(text) => Ok(text.text.as_ref()),
            other => wrong("not a text:", other),
        }
    }

    /// The elements of a list.
    pub fn list(self) -> Outcome<'gc, Vec<Value<'gc>>> {
        let mut all = Vec::new();
        // One goes half as fast as the other: in a cycle they meet.
        let (mut at, mut slow) = (self, self);
        while let Value::Pair(pair) = at {
            all.push(pair.first.get());
            at = pair.rest.get();
            if all.len().is_multiple_of(2) {
                slow = slow.pair()?.rest.get();
                if at.is(slow) {
                    break;
                }
            }
        }
        match at {
            Value::Nil => Ok(all),
            _ => wrong("not a list:", self),
        }
    }
}

/// A new pair.
pub fn cons<'gc>(cx: &Cx<'gc>, first: Value<'gc>, rest: Value<'gc>) -> Outcome<'gc> {
    let pair = Pair { first: Lock::new(first), rest: Lock::new(rest) };
    Ok(Value::Pair(Gc::try_new(cx, pair)?))
}

/// A list of values before a tail.
pub fn list<'gc>(cx: &Cx<'gc>, values: &[Value<'gc>], tail: Value<'gc>) -> Outcome<'gc> {
    values.iter().rev().try_fold(tail, |rest, &first| cons(cx, first, rest))
}

/// A new string.
pub fn text<'gc>(cx: &Cx<'gc>, text: &str) -> Outcome<'gc> {
    let text = Gc::try_from_str(cx, text)?;
    Ok(Value::Text(Gc::try_new(cx, Text { text })?))
}

/// A new vector.
pub fn vector<'gc, I>(cx: &Cx<'gc>, values: I) -> Outcome<'gc>
where
    I: IntoIterator<Item = Value<'gc>>,
    I::IntoIter: ExactSizeIterator,
{
    let items = Gc::try_from_iter(cx, values.into_iter().map(Lock::new))?;
    Ok(Value::Vector(Gc::try_new(cx, Vector { items })?))
}

/// A new condition.
pub fn condition<'gc>(cx: &Cx<'gc>, message: &str, culprit: Value<'gc>) -> Outcome<'gc> {
    let message = Gc::try_from_str(cx, message)?;
    Ok(Value::Condition(Gc::try_new(cx, Condition { message, culprit })?))
}
