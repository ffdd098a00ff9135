//! The variables of calls. Chapter 3.

use crate::code::{Lambda, Place};
use crate::machine::Run;
use crate::value::{Closure, Outcome, Scope, Value, Variables, list, wrong};
use mallocgc::typed::{Gc, Lock};

/// A variable's place.
pub fn variable<'gc>(scope: Scope<'gc>, place: Place) -> &'gc Lock<Value<'gc>> {
    let mut variables = scope.expect("the compiler counted the calls").as_ref();
    for _ in 0..place.up {
        variables = variables.outer.expect("the compiler counted the calls").as_ref();
    }
    &variables.values.as_ref()[place.index as usize]
}

/// The closure of a `lambda`.
pub fn close<'gc>(
    run: Run<'_, 'gc>,
    lambda: Gc<'gc, Lambda<'gc>>,
    scope: Scope<'gc>,
) -> Outcome<'gc> {
    Ok(Value::Closure(Gc::try_new(run.cx, Closure { lambda, scope })?))
}

/// The variables of a call.
pub fn enter<'gc>(
    run: Run<'_, 'gc>,
    closure: Gc<'gc, Closure<'gc>>,
    arguments: &[Value<'gc>],
) -> Outcome<'gc, Scope<'gc>> {
    let lambda = closure.lambda;
    let required = lambda.required as usize;
    if arguments.len() < required || (arguments.len() > required && !lambda.takes_rest) {
        return wrong("wrong number of arguments to", Value::Closure(closure));
    }
    let (required, rest) = arguments.split_at(required);
    let mut values = required.to_vec();
    if lambda.takes_rest {
        values.push(list(run.cx, rest, Value::Nil)?);
    }
    values.resize(lambda.variables as usize, Value::Nothing);
    let values = Gc::try_from_iter(run.cx, values.into_iter().map(Lock::new))?;
    Ok(Some(Gc::try_new(run.cx, Variables { values, outer: closure.scope })?))
}
