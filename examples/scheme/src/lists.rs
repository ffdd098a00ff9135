//! Equivalence, booleans, pairs, lists and symbols: R7RS 6.1, 6.3 to 6.5.

use crate::equal::is_equal;
use crate::machine::Vm;
use crate::primitive::{ANY, Arguments, Primitive};
use crate::value::{Outcome, Value, cons, list, list_with_tail, text, to_string, wrong};
use mallocgc::typed::Gc;

fn bool<'gc>(value: bool) -> Outcome<'gc> {
    Ok(Value::from(value))
}

/// Follows a path of `a` and `d` from its end, as in `cadr`.
fn path<'gc>(mut value: Value<'gc>, path: &str) -> Outcome<'gc> {
    for step in path.bytes().rev() {
        let pair = value.pair()?;
        value = if step == b'a' { pair.first.get() } else { pair.rest.get() };
    }
    Ok(value)
}

macro_rules! paths {
    ($($name:literal $path:literal),* $(,)?) => {
        &[$(Primitive::plain($name, 1, 1, |_, args| path(args[0].get(), $path))),*]
    };
}

/// Whether a value is a list: not one that is circular.
fn is_list(value: Value<'_>) -> bool {
    let (mut slow, mut fast) = (value, value);
    loop {
        for _ in 0..2 {
            match fast {
                Value::Nil => return true,
                Value::Pair(pair) => fast = pair.rest.get(),
                _ => return false,
            }
        }
        if let Value::Pair(pair) = slow {
            slow = pair.rest.get();
        }
        if matches!(fast, Value::Pair(_)) && slow.is(fast) {
            return false;
        }
    }
}

fn append<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let Some((last, before)) = args.split_last() else { return Ok(Value::Nil) };
    let mut all = last.get();
    for arg in before.iter().rev() {
        let items = arg.get().list()?;
        all = list_with_tail(vm.cx, &items, all)?;
    }
    Ok(all)
}

fn tail<'gc>(list: Value<'gc>, count: Value<'gc>) -> Outcome<'gc> {
    let mut at = list;
    for _ in 0..count.index()? {
        at = at.pair()?.rest.get();
    }
    Ok(at)
}

fn member<'gc>(args: Arguments<'gc>, same: fn(Value<'gc>, Value<'gc>) -> bool) -> Outcome<'gc> {
    let (wanted, mut at) = (args[0].get(), args[1].get());
    while let Value::Pair(pair) = at {
        if same(wanted, pair.first.get()) {
            return Ok(at);
        }
        at = pair.rest.get();
    }
    match at {
        Value::Nil => bool(false),
        _ => Err(wrong("a list", args[1].get())),
    }
}

fn association<'gc>(
    args: Arguments<'gc>,
    same: fn(Value<'gc>, Value<'gc>) -> bool,
) -> Outcome<'gc> {
    let (wanted, mut at) = (args[0].get(), args[1].get());
    while let Value::Pair(pair) = at {
        let entry = pair.first.get();
        if same(wanted, entry.pair()?.first.get()) {
            return Ok(entry);
        }
        at = pair.rest.get();
    }
    bool(false)
}

fn list_copy<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let (mut items, mut at) = (Vec::new(), args[0].get());
    while let Value::Pair(pair) = at {
        items.push(pair.first.get());
        at = pair.rest.get();
    }
    list_with_tail(vm.cx, &items, at)
}

fn all_same<'gc>(
    args: Arguments<'gc>,
    is_kind: fn(Value<'gc>) -> bool,
    kind: &str,
) -> Outcome<'gc> {
    if let Some(other) = args.iter().map(|arg| arg.get()).find(|&arg| !is_kind(arg)) {
        return Err(wrong(kind, other));
    }
    bool(args.windows(2).all(|pair| pair[0].get().is(pair[1].get())))
}

/// The procedures.
pub(crate) const PRIMITIVES: &[Primitive] = &[
    Primitive::plain("eq?", 2, 2, |_, args| bool(args[0].get().is(args[1].get()))),
    Primitive::plain("eqv?", 2, 2, |_, args| bool(args[0].get().is_equivalent(args[1].get()))),
    Primitive::plain("equal?", 2, 2, |_, args| bool(is_equal(args[0].get(), args[1].get()))),
    Primitive::plain("not", 1, 1, |_, args| bool(!args[0].get().is_true())),
    Primitive::plain("boolean?", 1, 1, |_, args| {
        bool(matches!(args[0].get(), Value::True | Value::False))
    }),
    Primitive::plain("boolean=?", 1, ANY, |_, args| {
        all_same(args, |arg| matches!(arg, Value::True | Value::False), "a boolean")
    }),
    Primitive::plain("pair?", 1, 1, |_, args| bool(matches!(args[0].get(), Value::Pair(_)))),
    Primitive::plain("null?", 1, 1, |_, args| bool(matches!(args[0].get(), Value::Nil))),
    Primitive::plain("list?", 1, 1, |_, args| bool(is_list(args[0].get()))),
    Primitive::plain("cons", 2, 2, |vm, args| cons(vm.cx, args[0].get(), args[1].get())),
    Primitive::plain("set-car!", 2, 2, |vm, args| {
        args[0].get().pair()?.first.set(vm.cx, args[1].get());
        Ok(Value::Unspecified)
    }),
    Primitive::plain("set-cdr!", 2, 2, |vm, args| {
        args[0].get().pair()?.rest.set(vm.cx, args[1].get());
        Ok(Value::Unspecified)
    }),
    Primitive::plain("list", 0, ANY, |vm, args| {
        args.iter().rev().try_fold(Value::Nil, |rest, arg| cons(vm.cx, arg.get(), rest))
    }),
    Primitive::plain("cons*", 1, ANY, |vm, args| {
        let (last, before) = args.split_last().expect("it has an argument");
        before.iter().rev().try_fold(last.get(), |rest, arg| cons(vm.cx, arg.get(), rest))
    }),
    Primitive::plain("make-list", 1, 2, |vm, args| {
        let fill = args.get(1).map_or(Value::Unspecified, |arg| arg.get());
        (0..args[0].get().index()?).try_fold(Value::Nil, |rest, _| cons(vm.cx, fill, rest))
    }),
    Primitive::plain("iota", 1, 3, |vm, args| {
        let count = args[0].get().index()? as i64;
        let at = |index: usize, default: i64| match args.get(index).map(|arg| arg.get()) {
            None => Ok(default),
            Some(Value::Fixnum(n)) => Ok(n),
            Some(other) => Err(wrong("a small integer", other)),
        };
        let (start, step) = (at(1, 0)?, at(2, 1)?);
        (0..count).rev().try_fold(Value::Nil, |rest, n| {
            let n = n.wrapping_mul(step).wrapping_add(start);
            cons(vm.cx, Value::Fixnum(n), rest)
        })
    }),
    Primitive::plain("length", 1, 1, |_, args| {
        let list = args[0].get();
        if !is_list(list) {
            return Err(wrong("a list", list));
        }
        let (mut count, mut at) = (0, list);
        while let Value::Pair(pair) = at {
            (count, at) = (count + 1, pair.rest.get());
        }
        Ok(Value::Fixnum(count))
    }),
    Primitive::plain("append", 0, ANY, append),
    Primitive::plain("reverse", 1, 1, |vm, args| {
        let (mut all, mut at) = (Value::Nil, args[0].get());
        while let Value::Pair(pair) = at {
            all = cons(vm.cx, pair.first.get(), all)?;
            at = pair.rest.get();
        }
        match at {
            Value::Nil => Ok(all),
            _ => Err(wrong("a list", args[0].get())),
        }
    }),
    Primitive::plain("list-tail", 2, 2, |_, args| tail(args[0].get(), args[1].get())),
    Primitive::plain("list-ref", 2, 2, |_, args| {
        Ok(tail(args[0].get(), args[1].get())?.pair()?.first.get())
    }),
    Primitive::plain("list-set!", 3, 3, |vm, args| {
        tail(args[0].get(), args[1].get())?.pair()?.first.set(vm.cx, args[2].get());
        Ok(Value::Unspecified)
    }),
    Primitive::plain("list-copy", 1, 1, list_copy),
    Primitive::plain("memq", 2, 2, |_, args| member(args, Value::is)),
    Primitive::plain("memv", 2, 2, |_, args| member(args, Value::is_equivalent)),
    Primitive::plain("%member", 2, 2, |_, args| member(args, is_equal)),
    Primitive::plain("assq", 2, 2, |_, args| association(args, Value::is)),
    Primitive::plain("assv", 2, 2, |_, args| association(args, Value::is_equivalent)),
    Primitive::plain("%assoc", 2, 2, |_, args| association(args, is_equal)),
    Primitive::plain("symbol?", 1, 1, |_, args| bool(matches!(args[0].get(), Value::Symbol(_)))),
    Primitive::plain("symbol=?", 1, ANY, |_, args| {
        all_same(args, |arg| matches!(arg, Value::Symbol(_)), "a symbol")
    }),
    Primitive::plain("symbol->string", 1, 1, |vm, args| text(vm.cx, &args[0].get().symbol()?.name)),
    Primitive::plain("string->symbol", 1, 1, |vm, args| {
        vm.machine.symbol(vm.cx, &to_string(args[0].get().text()?))
    }),
    Primitive::plain("generate-symbol", 0, 0, |vm, _| {
        let name = Gc::try_from_str(vm.cx, &format!("g{}", vm.machine.tickets.get()))?;
        let number = u32::MAX - vm.machine.tickets.get() as u32;
        let symbol = Gc::try_new(vm.cx, crate::value::Symbol { name, number })?;
        vm.machine.tickets.set(vm.machine.tickets.get() + 1);
        Ok(Value::Symbol(symbol))
    }),
    Primitive::plain("list-head", 2, 2, |vm, args| {
        let (mut items, mut at) = (Vec::new(), args[0].get());
        for _ in 0..args[1].get().index()? {
            let pair = at.pair()?;
            items.push(pair.first.get());
            at = pair.rest.get();
        }
        list(vm.cx, &items)
    }),
];

/// `car`, `cdr` and their compositions.
pub(crate) const PATHS: &[Primitive] = paths![
    "car" "a", "cdr" "d", "caar" "aa", "cadr" "ad", "cdar" "da", "cddr" "dd",
    "caaar" "aaa", "caadr" "aad", "cadar" "ada", "caddr" "add", "cdaar" "daa", "cdadr" "dad",
    "cddar" "dda", "cdddr" "ddd", "caaaar" "aaaa", "caaadr" "aaad", "caadar" "aada",
    "caaddr" "aadd", "cadaar" "adaa", "cadadr" "adad", "caddar" "adda", "cadddr" "addd",
    "cdaaar" "daaa", "cdaadr" "daad", "cdadar" "dada", "cdaddr" "dadd", "cddaar" "ddaa",
    "cddadr" "ddad", "cdddar" "ddda", "cddddr" "dddd",
];
