//! Weak pairs, guardians and hash tables.
//!
//! A guardian is told of an object by a cleanup, which runs on a thread of the heap when the object is gone and so cannot hold
//! it; what the guardian returns is the representative that was given with it. `(guardian)` returns one whose object is gone, or `#f`.

use crate::machine::Vm;
use crate::primitive::{Arguments, Primitive};
use crate::table::Table;
use crate::value::{Guardian, Kind, Outcome, Value, WeakPair, WeakValue, cons, fault, wrong};
use mallocgc::typed::{Gc, Lock, RefLock};
use std::sync::Arc;

impl WeakValue {
    fn new<'gc>(vm: &Vm<'gc, '_>, value: Value<'gc>) -> Option<WeakValue> {
        let cx = vm.cx;
        Some(match value {
            Value::Pair(object) => WeakValue::Pair(cx.downgrade(object)),
            Value::Text(object) => WeakValue::Text(cx.downgrade(object)),
            Value::Vector(object) => WeakValue::Vector(cx.downgrade(object)),
            Value::Closure(object) => WeakValue::Closure(cx.downgrade(object)),
            Value::Record(object) => WeakValue::Record(cx.downgrade(object)),
            Value::Bytes(object) => WeakValue::Bytes(cx.downgrade(object)),
            _ => return None,
        })
    }

    fn get<'gc>(&self, vm: &Vm<'gc, '_>) -> Option<Value<'gc>> {
        let cx = vm.cx;
        Some(match self {
            WeakValue::Pair(weak) => Value::Pair(weak.upgrade(cx)?),
            WeakValue::Text(weak) => Value::Text(weak.upgrade(cx)?),
            WeakValue::Vector(weak) => Value::Vector(weak.upgrade(cx)?),
            WeakValue::Closure(weak) => Value::Closure(weak.upgrade(cx)?),
            WeakValue::Record(weak) => Value::Record(weak.upgrade(cx)?),
            WeakValue::Bytes(weak) => Value::Bytes(weak.upgrade(cx)?),
        })
    }
}

fn weak_pair<'gc>(value: Value<'gc>) -> Outcome<'gc, &'gc WeakPair<'gc>> {
    match value {
        Value::WeakPair(pair) => Ok(pair.as_ref()),
        other => Err(wrong("a weak pair", other)),
    }
}

fn weak_cons<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let weak = WeakValue::new(vm, args[0].get());
    let key = Lock::new(if weak.is_some() { Value::False } else { args[0].get() });
    let pair = WeakPair { key, weak, rest: Lock::new(args[1].get()) };
    Ok(Value::WeakPair(Gc::try_new(vm.cx, pair)?))
}

fn weak_car<'gc>(vm: &Vm<'gc, '_>, pair: &WeakPair<'gc>) -> Option<Value<'gc>> {
    match &pair.weak {
        Some(weak) => weak.get(vm),
        None => Some(pair.key.get()),
    }
}

/// `(guardian object [representative])` or `(guardian)`.
pub(crate) fn call_guardian<'gc>(
    vm: &mut Vm<'gc, '_>,
    guardian: Gc<'gc, Guardian<'gc>>,
    arguments: &[Value<'gc>],
) -> Outcome<'gc> {
    let (object, representative) = match *arguments {
        [] => {
            let dead = guardian.dead.lock().ok().and_then(|mut dead| dead.pop_front());
            let waiting = &mut guardian.waiting.borrow_mut(vm.cx);
            let found = dead.and_then(|number| waiting.remove(&number));
            return Ok(found.unwrap_or(Value::False));
        }
        [object] => (object, Value::True),
        [object, representative] => (object, representative),
        _ => return Err(fault(Kind::Primitive, "too many arguments to a guardian", &[])),
    };
    let number = vm.machine.tickets.get();
    vm.machine.tickets.set(number + 1);
    let dead = Arc::clone(&guardian.dead);
    let tell = move || {
        if let Ok(mut dead) = dead.lock() {
            dead.push_back(number);
        }
    };
    let cx = vm.cx;
    let added = match object {
        Value::Pair(object) => cx.add_cleanup(object, tell),
        Value::Text(object) => cx.add_cleanup(object, tell),
        Value::Vector(object) => cx.add_cleanup(object, tell),
        Value::Closure(object) => cx.add_cleanup(object, tell),
        Value::Record(object) => cx.add_cleanup(object, tell),
        Value::Bytes(object) => cx.add_cleanup(object, tell),
        other => return Err(wrong("an object", other)),
    };
    if let Err(error) = added {
        return Err(fault(Kind::Primitive, error.to_string(), &[]));
    }
    guardian.waiting.borrow_mut(cx).insert(number, representative);
    Ok(Value::Unspecified)
}

fn table<'gc>(value: Value<'gc>) -> Outcome<'gc, &'gc Table<'gc>> {
    match value {
        Value::Table(table) => Ok(table.as_ref()),
        other => Err(wrong("a hash table", other)),
    }
}

fn new_table<'gc>(vm: &mut Vm<'gc, '_>, by_equal: bool) -> Outcome<'gc> {
    Ok(Value::Table(Gc::try_new(vm.cx, Table::new(vm.cx, by_equal)?)?))
}

/// The procedures.
pub(crate) const PRIMITIVES: &[Primitive] = &[
    Primitive::plain("weak-cons", 2, 2, weak_cons),
    Primitive::plain("weak-pair?", 1, 1, |_, args| {
        Ok(Value::from(matches!(args[0].get(), Value::WeakPair(_))))
    }),
    Primitive::plain("weak-car", 1, 1, |vm, args| {
        Ok(weak_car(vm, weak_pair(args[0].get())?).unwrap_or(Value::False))
    }),
    Primitive::plain("weak-cdr", 1, 1, |_, args| Ok(weak_pair(args[0].get())?.rest.get())),
    Primitive::plain("weak-set-cdr!", 2, 2, |vm, args| {
        weak_pair(args[0].get())?.rest.set(vm.cx, args[1].get());
        Ok(Value::Unspecified)
    }),
    Primitive::plain("weak-broken?", 1, 1, |vm, args| {
        Ok(Value::from(weak_car(vm, weak_pair(args[0].get())?).is_none()))
    }),
    Primitive::plain("make-guardian", 0, 0, |vm, _| {
        let guardian = Guardian { dead: Arc::default(), waiting: RefLock::default() };
        Ok(Value::Guardian(Gc::try_new(vm.cx, guardian)?))
    }),
    Primitive::plain("make-equal-hash-table", 0, 1, |vm, _| new_table(vm, true)),
    Primitive::plain("make-hash-table", 0, 1, |vm, _| new_table(vm, true)),
    Primitive::plain("make-eqv-hash-table", 0, 1, |vm, _| new_table(vm, false)),
    Primitive::plain("make-eq-hash-table", 0, 1, |vm, _| new_table(vm, false)),
    Primitive::plain("hash-table?", 1, 1, |_, args| {
        Ok(Value::from(matches!(args[0].get(), Value::Table(_))))
    }),
    Primitive::plain("hash-table-ref/default", 3, 3, |_, args| {
        Ok(table(args[0].get())?.get(args[1].get()).unwrap_or_else(|| args[2].get()))
    }),
    Primitive::plain("hash-table-set!", 3, 3, |vm, args| {
        table(args[0].get())?.set(vm.cx, args[1].get(), args[2].get())?;
        Ok(Value::Unspecified)
    }),
    Primitive::plain("hash-table-delete!", 2, 2, |vm, args| {
        table(args[0].get())?.remove(vm.cx, args[1].get());
        Ok(Value::Unspecified)
    }),
    Primitive::plain("hash-table-contains?", 2, 2, |_, args| {
        Ok(Value::from(table(args[0].get())?.get(args[1].get()).is_some()))
    }),
    Primitive::plain("hash-table-count", 1, 1, |_, args| {
        Ok(Value::Fixnum(table(args[0].get())?.count() as i64))
    }),
    Primitive::plain("hash-table->alist", 1, 1, |vm, args| {
        table(args[0].get())?
            .pairs()
            .try_fold(Value::Nil, |rest, (key, value)| cons(vm.cx, cons(vm.cx, key, value)?, rest))
    }),
    Primitive::plain("hash-table-clear!", 1, 1, |vm, args| {
        table(args[0].get())?.clear(vm.cx)?;
        Ok(Value::Unspecified)
    }),
];
