//! Values that do not keep, and guardians of those that are gone. Chapter 10.

use crate::machine::{Now, Run, State};
use crate::primitive::Primitive;
use crate::table::Table;
use crate::value::{Closure, Fault, Outcome, Pair, Text, Value, Vector, wrong};
use mallocgc::typed::{Gc, Lock, RefLock, Trace, Weak};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Names an object without keeping it alive.
#[derive(Trace)]
pub struct WeakBox {
    target: Target,
}

/// A weak handle is of one type of object.
#[derive(Trace)]
enum Target {
    Pair(Weak<Pair<'static>>),
    Text(Weak<Text<'static>>),
    Vector(Weak<Vector<'static>>),
    Table(Weak<Table<'static>>),
    Closure(Weak<Closure<'static>>),
}

impl WeakBox {
    fn new<'gc>(run: Run<'_, 'gc>, value: Value<'gc>) -> Outcome<'gc, WeakBox> {
        let target = match value {
            Value::Pair(pair) => Target::Pair(run.cx.downgrade(pair)),
            Value::Text(text) => Target::Text(run.cx.downgrade(text)),
            Value::Vector(vector) => Target::Vector(run.cx.downgrade(vector)),
            Value::Table(table) => Target::Table(run.cx.downgrade(table)),
            Value::Closure(closure) => Target::Closure(run.cx.downgrade(closure)),
            other => return wrong("nothing that dies:", other),
        };
        Ok(WeakBox { target })
    }

    fn get<'gc>(&self, run: Run<'_, 'gc>) -> Option<Value<'gc>> {
        match &self.target {
            Target::Pair(weak) => weak.upgrade(run.cx).map(Value::Pair),
            Target::Text(weak) => weak.upgrade(run.cx).map(Value::Text),
            Target::Vector(weak) => weak.upgrade(run.cx).map(Value::Vector),
            Target::Table(weak) => weak.upgrade(run.cx).map(Value::Table),
            Target::Closure(weak) => weak.upgrade(run.cx).map(Value::Closure),
        }
    }
}

/// Gives back, one by one, what was left with it for objects that are gone.
#[derive(Trace)]
pub struct Guardian<'gc> {
    /// Numbers of what is due. Cleanups fill it, on a thread of the heap.
    due: Arc<Mutex<VecDeque<u64>>>,
    left: RefLock<HashMap<u64, Value<'gc>>>,
    next: Lock<u64>,
}

impl<'gc> Guardian<'gc> {
    fn new() -> Guardian<'gc> {
        Guardian { due: Arc::default(), left: RefLock::default(), next: Lock::new(0) }
    }

    /// `(guardian object value)` leaves a value for when the object is gone; `(guardian)` is such a value, or `#f`
    /// when none is due.
    pub fn call(this: Gc<'gc, Self>, run: Run<'_, 'gc>, arguments: &[Value<'gc>]) -> Outcome<'gc> {
        match *arguments {
            [] => {
                let due = this.due.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let value = due.and_then(|number| this.left.borrow_mut(run.cx).remove(&number));
                Ok(value.unwrap_or(Value::Bool(false)))
            }
            [object, value] => this.guard(run, object, value),
            _ => wrong("wrong number of arguments to", Value::Guardian(this)),
        }
    }

    fn guard(&self, run: Run<'_, 'gc>, object: Value<'gc>, value: Value<'gc>) -> Outcome<'gc> {
        let number = self.next.get();
        let due = Arc::clone(&self.due);
        // It cannot hold the object: it would never be gone.
        let cleanup = move || due.lock().unwrap_or_else(PoisonError::into_inner).push_back(number);
        let added = match object {
            Value::Pair(pair) => run.cx.add_cleanup(pair, cleanup),
            Value::Text(text) => run.cx.add_cleanup(text, cleanup),
            Value::Vector(vector) => run.cx.add_cleanup(vector, cleanup),
            Value::Table(table) => run.cx.add_cleanup(table, cleanup),
            Value::Closure(closure) => run.cx.add_cleanup(closure, cleanup),
            other => return wrong("nothing that dies:", other),
        };
        if added.is_err() {
            return wrong("cannot be guarded:", object);
        }
        self.next.set(run.cx, number + 1);
        self.left.borrow_mut(run.cx).insert(number, value);
        Ok(Value::Nothing)
    }
}

pub(crate) const PRIMITIVES: &[Primitive] = &[
    Primitive::plain("make-weak", 1, 1, |run, arguments| {
        let weak = WeakBox::new(run, arguments[0])?;
        Ok(Value::Weak(Gc::try_new(run.cx, weak)?))
    }),
    Primitive::plain("weak-value", 1, 1, |run, arguments| match arguments[0] {
        Value::Weak(weak) => Ok(weak.get(run).unwrap_or(Value::Bool(false))),
        other => wrong("not a weak box:", other),
    }),
    Primitive::plain("make-guardian", 0, 0, |run, _| {
        Ok(Value::Guardian(Gc::try_new(run.cx, Guardian::new())?))
    }),
    // (collect)
    Primitive::control("collect", 0, |_, _, then| {
        Err(Fault::Collect(State { now: Now::Return(Value::Nothing), then }))
    }),
];
