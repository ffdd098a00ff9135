//! Procedures that are written in Rust.

use crate::machine::{Frames, Now, Run, State, Wait};
use crate::print::{displayed, written};
use crate::value::{Fault, Outcome, Value, cons, list, text, vector, wrong};
use crate::{shared, table, weak};
use mallocgc::typed::Lock;

/// A procedure written in Rust.
#[derive(Debug)]
pub struct Primitive {
    pub name: &'static str,
    least: usize,
    most: usize,
    pub action: Action,
}

/// What a primitive does.
#[derive(Debug)]
pub enum Action {
    /// It makes a value.
    Plain(for<'gc> fn(Run<'_, 'gc>, &[Value<'gc>]) -> Outcome<'gc>),
    /// It says how the machine goes on.
    Control(for<'gc> fn(Run<'_, 'gc>, &[Value<'gc>], Frames<'gc>) -> Outcome<'gc, State<'gc>>),
}

/// Takes any number of arguments.
pub const ANY: usize = usize::MAX;

impl Primitive {
    pub const fn plain(
        name: &'static str,
        least: usize,
        most: usize,
        action: for<'gc> fn(Run<'_, 'gc>, &[Value<'gc>]) -> Outcome<'gc>,
    ) -> Primitive {
        Primitive { name, least, most, action: Action::Plain(action) }
    }

    pub const fn control(
        name: &'static str,
        count: usize,
        action: for<'gc> fn(Run<'_, 'gc>, &[Value<'gc>], Frames<'gc>) -> Outcome<'gc, State<'gc>>,
    ) -> Primitive {
        Primitive { name, least: count, most: count, action: Action::Control(action) }
    }

    /// Itself, if it takes so many arguments.
    pub fn check<'gc>(&'static self, arguments: &[Value<'gc>]) -> Outcome<'gc, &'static Primitive> {
        match (self.least..=self.most).contains(&arguments.len()) {
            true => Ok(self),
            false => wrong("wrong number of arguments to", Value::Primitive(self)),
        }
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Primitive> {
    [BASIC, CONTROL, table::PRIMITIVES, weak::PRIMITIVES, shared::PRIMITIVES].into_iter().flatten()
}

/// Folds numbers by an operation that may have no result.
fn arithmetic<'gc>(
    arguments: &[Value<'gc>],
    operation: fn(i64, i64) -> Option<i64>,
) -> Outcome<'gc> {
    let mut result = arguments[0].number()?;
    for argument in &arguments[1..] {
        match operation(result, argument.number()?) {
            Some(next) => result = next,
            None => return wrong("no number is the result with", *argument),
        }
    }
    Ok(Value::Number(result))
}

const BASIC: &[Primitive] = &[
    Primitive::plain("+", 1, ANY, |_, arguments| arithmetic(arguments, i64::checked_add)),
    Primitive::plain("-", 1, ANY, |_, arguments| arithmetic(arguments, i64::checked_sub)),
    Primitive::plain("*", 1, ANY, |_, arguments| arithmetic(arguments, i64::checked_mul)),
    Primitive::plain("quotient", 2, 2, |_, arguments| arithmetic(arguments, i64::checked_div)),
    Primitive::plain("remainder", 2, 2, |_, arguments| arithmetic(arguments, i64::checked_rem)),
    Primitive::plain("=", 2, 2, |_, arguments| {
        Ok(Value::Bool(arguments[0].number()? == arguments[1].number()?))
    }),
    Primitive::plain("<", 2, 2, |_, arguments| {
        Ok(Value::Bool(arguments[0].number()? < arguments[1].number()?))
    }),
    Primitive::plain("eq?", 2, 2, |_, arguments| Ok(Value::Bool(arguments[0].is(arguments[1])))),
    Primitive::plain("not", 1, 1, |_, arguments| Ok(Value::Bool(!arguments[0].is_true()))),
    Primitive::plain("null?", 1, 1, |_, arguments| {
        Ok(Value::Bool(matches!(arguments[0], Value::Nil)))
    }),
    Primitive::plain("pair?", 1, 1, |_, arguments| {
        Ok(Value::Bool(matches!(arguments[0], Value::Pair(_))))
    }),
    Primitive::plain("cons", 2, 2, |run, arguments| cons(run.cx, arguments[0], arguments[1])),
    Primitive::plain("car", 1, 1, |_, arguments| Ok(arguments[0].pair()?.first.get())),
    Primitive::plain("cdr", 1, 1, |_, arguments| Ok(arguments[0].pair()?.rest.get())),
    Primitive::plain("set-car!", 2, 2, |run, arguments| {
        arguments[0].pair()?.first.set(run.cx, arguments[1]);
        Ok(Value::Nothing)
    }),
    Primitive::plain("set-cdr!", 2, 2, |run, arguments| {
        arguments[0].pair()?.rest.set(run.cx, arguments[1]);
        Ok(Value::Nothing)
    }),
    Primitive::plain("list", 0, ANY, |run, arguments| list(run.cx, arguments, Value::Nil)),
    Primitive::plain("vector", 0, ANY, |run, arguments| vector(run.cx, arguments.iter().copied())),
    Primitive::plain("make-vector", 2, 2, |run, arguments| {
        match usize::try_from(arguments[0].number()?) {
            Ok(count) => vector(run.cx, std::iter::repeat_n(arguments[1], count)),
            Err(_) => wrong("not a length:", arguments[0]),
        }
    }),
    Primitive::plain("vector-length", 1, 1, |_, arguments| match arguments[0] {
        Value::Vector(vector) => Ok(Value::Number(vector.items.len() as i64)),
        other => wrong("not a vector:", other),
    }),
    Primitive::plain("vector-ref", 2, 2, |_, arguments| Ok(item(arguments)?.get())),
    Primitive::plain("vector-set!", 3, 3, |run, arguments| {
        item(arguments)?.set(run.cx, arguments[2]);
        Ok(Value::Nothing)
    }),
    Primitive::plain("text-length", 1, 1, |_, arguments| {
        Ok(Value::Number(arguments[0].text()?.chars().count() as i64))
    }),
    Primitive::plain("text-append", 0, ANY, |run, arguments| {
        let mut all = String::new();
        for argument in arguments {
            all.push_str(argument.text()?);
        }
        text(run.cx, &all)
    }),
    Primitive::plain("number->text", 1, 1, |run, arguments| {
        text(run.cx, &arguments[0].number()?.to_string())
    }),
    Primitive::plain("display", 1, 1, |run, arguments| {
        run.machine.output.borrow_mut(run.cx).push_str(&displayed(arguments[0]));
        Ok(Value::Nothing)
    }),
    Primitive::plain("write", 1, 1, |run, arguments| {
        run.machine.output.borrow_mut(run.cx).push_str(&written(arguments[0]));
        Ok(Value::Nothing)
    }),
    Primitive::plain("newline", 0, 0, |run, _| {
        run.machine.output.borrow_mut(run.cx).push('\n');
        Ok(Value::Nothing)
    }),
];

/// The place in a vector that the first two arguments name.
fn item<'gc>(arguments: &[Value<'gc>]) -> Outcome<'gc, &'gc Lock<Value<'gc>>> {
    let Value::Vector(vector) = arguments[0] else {
        return wrong("not a vector:", arguments[0]);
    };
    let index = usize::try_from(arguments[1].number()?).ok();
    match index.and_then(|index| vector.as_ref().items.as_ref().get(index)) {
        Some(item) => Ok(item),
        None => wrong("no index of the vector:", arguments[1]),
    }
}

const CONTROL: &[Primitive] = &[
    // (apply procedure list)
    Primitive::control("apply", 2, |run, arguments, then| {
        run.call(arguments[0], &arguments[1].list()?, then)
    }),
    // (call/cc procedure)
    Primitive::control("call/cc", 1, |run, arguments, then| {
        run.call(arguments[0], &[Value::Continuation(then)], then)
    }),
    // (raise value)
    Primitive::control("raise", 1, |_, arguments, _| Err(Fault::Raised(arguments[0]))),
    // (error text culprit)
    Primitive::control("error", 2, |_, arguments, _| wrong(arguments[0].text()?, arguments[1])),
    // (try thunk handler)
    Primitive::control("try", 2, |run, arguments, then| {
        let then = run.push(Wait::Catch(arguments[1]), then)?;
        Ok(State { now: Now::Call(arguments[0], None), then })
    }),
    // (message condition)
    Primitive::control("message", 1, |run, arguments, then| match arguments[0] {
        Value::Condition(condition) => {
            let value = text(run.cx, &condition.message)?;
            Ok(State { now: Now::Return(value), then })
        }
        other => wrong("not a condition:", other),
    }),
];
