//! Procedures, continuations, conditions, promises, parameters, and the system: R7RS 6.10 to 6.12, 6.14.

use crate::compile::Compiler;
use crate::machine::Vm;
use crate::primitive::{ANY, Arguments, Primitive};
use crate::value::{
    Closure, Condition, Fault, Kind, Outcome, Parameter, Promise, PromiseState, Value, cons, list,
    text, to_string, wrong,
};
use mallocgc::typed::{Gc, Lock};
use std::collections::HashMap;

fn apply<'gc>(vm: &mut Vm<'gc, '_>, base: usize) -> Outcome<'gc, ()> {
    let mut arguments = vm.arguments(base);
    let procedure = arguments.remove(0);
    if let Some(last) = arguments.pop() {
        arguments.extend(last.list()?);
    }
    vm.call_instead(base, procedure, &arguments)
}

fn call_cc<'gc>(vm: &mut Vm<'gc, '_>, base: usize) -> Outcome<'gc, ()> {
    let procedure = vm.arguments(base)[0];
    let continuation = vm.capture(base)?;
    // The call is the topmost now, wherever it has been.
    let base = vm.sp - 2;
    vm.call_instead(base, procedure, &[continuation])
}

/// `(%throw k values)`: goes to a continuation without winding.
fn throw<'gc>(vm: &mut Vm<'gc, '_>, base: usize) -> Outcome<'gc, ()> {
    let arguments = vm.arguments(base);
    let Value::Continuation(continuation) = arguments[0] else {
        return Err(wrong("a continuation", arguments[0]));
    };
    let value = vm.several(&arguments[1].list()?)?;
    vm.throw(continuation, value);
    Ok(())
}

fn eval<'gc>(vm: &mut Vm<'gc, '_>, base: usize) -> Outcome<'gc, ()> {
    let arguments = vm.arguments(base);
    let environment = match arguments.get(1) {
        None => vm.machine.program,
        Some(Value::Environment(environment)) => *environment,
        Some(other) => return Err(wrong("an environment", *other)),
    };
    let code = Compiler::compile(vm.cx, vm.machine, environment, arguments[0], &HashMap::new())?;
    let closure = Closure { code, free: vm.machine.empty };
    let closure = Value::Closure(Gc::try_new(vm.cx, closure)?);
    vm.call_instead(base, closure, &[])
}

/// An environment in which only `import` has a meaning.
fn environment<'gc>(vm: &mut Vm<'gc, '_>, _: Arguments<'gc>) -> Outcome<'gc> {
    let environment = Gc::try_new(vm.cx, crate::environment::Environment::default())?;
    let import = vm.machine.symbol(vm.cx, "import")?;
    let binding = crate::environment::Binding::Special(crate::syntax::Special::Import);
    environment.bind(vm.cx, import.symbol()?, binding);
    Ok(Value::Environment(environment))
}

fn error<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let irritants: Vec<_> = args[1..].iter().map(|arg| arg.get()).collect();
    let irritants = list(vm.cx, &irritants)?;
    let (line, column) = vm.place();
    let condition = Condition { kind: Kind::User, message: args[0].get(), irritants, line, column };
    Ok(Value::Condition(Gc::try_new(vm.cx, condition)?))
}

fn condition<'gc>(value: Value<'gc>) -> Outcome<'gc, Gc<'gc, Condition<'gc>>> {
    match value {
        Value::Condition(condition) => Ok(condition),
        other => Err(wrong("an error object", other)),
    }
}

fn has_kind<'gc>(value: Value<'gc>, kind: Kind) -> Outcome<'gc> {
    Ok(Value::from(matches!(value, Value::Condition(condition) if condition.kind == kind)))
}

fn promise<'gc>(vm: &mut Vm<'gc, '_>, done: bool, value: Value<'gc>) -> Outcome<'gc> {
    let state = PromiseState { done: Lock::new(done), value: Lock::new(value) };
    let state = Gc::try_new(vm.cx, state)?;
    Ok(Value::Promise(Gc::try_new(vm.cx, Promise { state: Lock::new(state) })?))
}

fn promise_of<'gc>(value: Value<'gc>) -> Outcome<'gc, Gc<'gc, Promise<'gc>>> {
    match value {
        Value::Promise(promise) => Ok(promise),
        other => Err(wrong("a promise", other)),
    }
}

/// Lets a promise be what another is, or is going to be.
fn promise_chain<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let (promise, other) = (promise_of(args[0].get())?, promise_of(args[1].get())?);
    let (state, from) = (promise.state.get(), other.state.get());
    if !state.done.get() {
        state.done.set(vm.cx, from.done.get());
        state.value.set(vm.cx, from.value.get());
        other.state.set(vm.cx, state);
    }
    Ok(Value::Unspecified)
}

fn exit<'gc>(_: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    Err(Fault::Exit(match args.first().map(|arg| arg.get()) {
        None | Some(Value::True) => 0,
        Some(Value::Fixnum(n)) => n as i32,
        Some(_) => 1,
    }))
}

fn jiffies() -> i64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_micros() as i64
}

/// The procedures.
pub(crate) const PRIMITIVES: &[Primitive] = &[
    Primitive::plain("procedure?", 1, 1, |_, args| Ok(Value::from(args[0].get().is_procedure()))),
    Primitive::control("apply", 1, ANY, apply),
    Primitive::control("call-with-current-continuation", 1, 1, call_cc),
    Primitive::control("call/cc", 1, 1, call_cc),
    Primitive::control("%throw", 2, 2, throw),
    Primitive::control("call-with-values", 2, 2, |vm, base| {
        vm.call_with_values(base);
        Ok(())
    }),
    Primitive::control("%with-dynamic", 2, 2, |vm, base| {
        vm.call_with_dynamic(base);
        Ok(())
    }),
    Primitive::control("eval", 1, 2, eval),
    Primitive::control("collect-garbage", 0, 0, |vm, base| {
        (vm.sp, vm.apply) = (base, None);
        vm.return_value(Value::Unspecified);
        Err(Fault::Collect)
    }),
    Primitive::plain("values", 0, ANY, |vm, args| {
        let values: Vec<_> = args.iter().map(|arg| arg.get()).collect();
        vm.several(&values)
    }),
    Primitive::plain("%dynamic", 0, 0, |vm, _| Ok(vm.dynamic)),
    Primitive::plain("%winders", 0, 0, |vm, _| Ok(vm.winders)),
    Primitive::plain("%set-winders!", 1, 1, |vm, args| {
        vm.winders = args[0].get();
        Ok(Value::Unspecified)
    }),
    Primitive::plain("%continuation-winders", 1, 1, |_, args| match args[0].get() {
        Value::Continuation(continuation) => Ok(continuation.winders),
        other => Err(wrong("a continuation", other)),
    }),
    Primitive::plain("%set-hooks!", 2, 2, |vm, args| {
        vm.machine.raise.set(vm.cx, args[0].get());
        vm.machine.rewind.set(vm.cx, args[1].get());
        Ok(Value::Unspecified)
    }),
    Primitive::plain("%uncaught", 1, 1, |_, args| Err(Fault::Uncaught(args[0].get()))),
    Primitive::plain("%make-error", 1, ANY, error),
    Primitive::plain("error-object?", 1, 1, |_, args| {
        Ok(Value::from(matches!(args[0].get(), Value::Condition(_))))
    }),
    Primitive::plain("error-object-message", 1, 1, |_, args| Ok(condition(args[0].get())?.message)),
    Primitive::plain("error-object-irritants", 1, 1, |_, args| {
        Ok(condition(args[0].get())?.irritants)
    }),
    Primitive::plain("error-object-line", 1, 1, |_, args| {
        Ok(Value::Fixnum(i64::from(condition(args[0].get())?.line)))
    }),
    Primitive::plain("read-error?", 1, 1, |_, args| has_kind(args[0].get(), Kind::Read)),
    Primitive::plain("file-error?", 1, 1, |_, args| has_kind(args[0].get(), Kind::File)),
    Primitive::plain("out-of-memory?", 1, 1, |_, args| has_kind(args[0].get(), Kind::OutOfMemory)),
    Primitive::plain("promise?", 1, 1, |_, args| {
        Ok(Value::from(matches!(args[0].get(), Value::Promise(_))))
    }),
    Primitive::plain("%make-promise", 2, 2, |vm, args| {
        promise(vm, args[0].get().is_true(), args[1].get())
    }),
    Primitive::plain("%promise-done?", 1, 1, |_, args| {
        Ok(Value::from(promise_of(args[0].get())?.state.get().done.get()))
    }),
    Primitive::plain("%promise-value", 1, 1, |_, args| {
        Ok(promise_of(args[0].get())?.state.get().value.get())
    }),
    Primitive::plain("%promise-chain!", 2, 2, promise_chain),
    Primitive::plain("%make-parameter", 2, 2, |vm, args| {
        let parameter = Parameter { value: Lock::new(args[0].get()), converter: args[1].get() };
        Ok(Value::Parameter(Gc::try_new(vm.cx, parameter)?))
    }),
    Primitive::plain("%parameter-converter", 1, 1, |_, args| match args[0].get() {
        Value::Parameter(parameter) => Ok(parameter.converter),
        other => Err(wrong("a parameter", other)),
    }),
    Primitive::plain("%primitive-name", 1, 1, |vm, args| match args[0].get() {
        Value::Primitive(primitive) => text(vm.cx, primitive.name),
        _ => Ok(Value::False),
    }),
    Primitive::plain("%environment", 0, 0, environment),
    Primitive::plain("interaction-environment", 0, 0, |vm, _| {
        Ok(Value::Environment(vm.machine.program))
    }),
    Primitive::plain("system-global-environment", 0, 0, |vm, _| {
        Ok(Value::Environment(vm.machine.program))
    }),
    Primitive::plain("scheme-report-environment", 1, 1, |vm, _| {
        Ok(Value::Environment(vm.machine.program))
    }),
    Primitive::plain("emergency-exit", 0, 1, exit),
    Primitive::plain("current-jiffy", 0, 0, |_, _| Ok(Value::Fixnum(jiffies()))),
    Primitive::plain("jiffies-per-second", 0, 0, |_, _| Ok(Value::Fixnum(1_000_000))),
    Primitive::plain("current-second", 0, 0, |_, _| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Ok(Value::from(now.map_or(0.0, |since| since.as_secs_f64())))
    }),
    Primitive::plain("get-environment-variable", 1, 1, |vm, args| {
        match std::env::var(to_string(args[0].get().text()?)) {
            Ok(value) => text(vm.cx, &value),
            Err(_) => Ok(Value::False),
        }
    }),
    Primitive::plain("get-environment-variables", 0, 0, |vm, _| {
        std::env::vars().try_fold(Value::Nil, |rest, (name, value)| {
            let pair = cons(vm.cx, text(vm.cx, &name)?, text(vm.cx, &value)?)?;
            cons(vm.cx, pair, rest)
        })
    }),
    Primitive::plain("command-line", 0, 0, |vm, _| {
        let all: Outcome<'_, Vec<_>> = std::env::args().map(|arg| text(vm.cx, &arg)).collect();
        list(vm.cx, &all?)
    }),
    Primitive::plain("features", 0, 0, |vm, _| {
        let names = crate::rewrite::FEATURES.iter();
        let all: Outcome<'_, Vec<_>> = names.map(|name| vm.machine.symbol(vm.cx, name)).collect();
        list(vm.cx, &all?)
    }),
    Primitive::plain("void", 0, ANY, |_, _| Ok(Value::Unspecified)),
];
