//! The evaluator that one writes first. Chapter 3; chapter 4 tells why there is another.

use crate::code::Code;
use crate::machine::Run;
use crate::primitive::Action;
use crate::scope::{close, enter, variable};
use crate::value::{Outcome, Scope, Value, wrong};

/// Evaluates code with the variables around it.
pub fn eval<'gc>(run: Run<'_, 'gc>, code: &Code<'gc>, scope: Scope<'gc>) -> Outcome<'gc> {
    match *code {
        Code::Constant(value) => Ok(value),
        Code::Local(place) => Ok(variable(scope, place).get()),
        Code::Global(symbol) => match symbol.global.get() {
            Some(value) => Ok(value),
            None => wrong("undefined:", Value::Symbol(symbol)),
        },
        Code::SetLocal(place, ref value) => {
            let value = eval(run, value, scope)?;
            variable(scope, place).set(run.cx, value);
            Ok(Value::Nothing)
        }
        Code::SetGlobal(symbol, ref value) | Code::Define(symbol, ref value) => {
            let value = eval(run, value, scope)?;
            if matches!(code, Code::SetGlobal(..)) && symbol.global.get().is_none() {
                return wrong("undefined:", Value::Symbol(symbol));
            }
            symbol.global.set(run.cx, Some(value));
            Ok(Value::Nothing)
        }
        Code::If(ref test, ref yes, ref no) => {
            let code = if eval(run, test, scope)?.is_true() { yes } else { no };
            eval(run, code, scope)
        }
        Code::Sequence(ref codes) => {
            let (last, others) = codes.split_last().expect("a sequence has parts");
            for code in others {
                eval(run, code, scope)?;
            }
            eval(run, last, scope)
        }
        Code::Lambda(lambda) => close(run, lambda, scope),
        Code::Call(ref codes) => {
            let parts: Result<Vec<_>, _> =
                codes.iter().map(|code| eval(run, code, scope)).collect();
            let parts = parts?;
            apply(run, parts[0], &parts[1..])
        }
    }
}

fn apply<'gc>(run: Run<'_, 'gc>, procedure: Value<'gc>, arguments: &[Value<'gc>]) -> Outcome<'gc> {
    match procedure {
        Value::Closure(closure) => {
            let scope = enter(run, closure, arguments)?;
            eval(run, &closure.lambda.body, scope)
        }
        Value::Primitive(primitive) => match primitive.check(arguments)?.action {
            Action::Plain(action) => action(run, arguments),
            Action::Control(_) => wrong("this evaluator cannot do", procedure),
        },
        other => wrong("not a procedure:", other),
    }
}
