//! The evaluator whose state is in the heap. Chapters 4, 8 and 9.

use crate::code::{Code, Codes};
use crate::primitive::Action;
use crate::scope::{close, enter, variable};
use crate::shared::Seat;
use crate::value::{Fault, Outcome, Scope, Symbol, Value, condition, cons, wrong};
use crate::weak::Guardian;
use mallocgc::typed::{AllocError, Cx, Gc, Lock, RefLock, Slot, Trace};
use std::collections::HashMap;

/// What a function has at hand inside of a run.
#[derive(Clone, Copy)]
pub struct Run<'a, 'gc> {
    pub cx: &'a Cx<'gc>,
    pub machine: &'gc Machine<'gc>,
    /// What is shared with interpreters in other threads.
    pub seat: Option<&'a Seat>,
}

/// All that must outlive a run: the only root leads here.
#[derive(Trace)]
pub struct Machine<'gc> {
    pub symbols: RefLock<HashMap<String, Gc<'gc, Symbol<'gc>>>>,
    pub state: Lock<State<'gc>>,
    /// What the program has printed.
    pub output: RefLock<String>,
    /// Raised when there is no memory to make a condition of.
    pub no_memory: Value<'gc>,
    /// Given up when there is none, so that there is some to say so.
    pub reserve: Slot<Option<Gc<'gc, Reserve>>>,
    /// Whether arguments that are variables and constants are taken at once.
    pub takes_at_once: bool,
}

/// Memory set aside.
pub type Reserve = [u64; 2048];

/// What is done next, and what then.
#[derive(Clone, Copy, Trace)]
pub struct State<'gc> {
    pub now: Now<'gc>,
    pub then: Frames<'gc>,
}

#[derive(Clone, Copy, Trace)]
pub enum Now<'gc> {
    Eval(Gc<'gc, Code<'gc>>, Scope<'gc>),
    /// The innermost frame gets a value.
    Return(Value<'gc>),
    /// A procedure is called with a value, or with none.
    Call(Value<'gc>, Option<Value<'gc>>),
}

/// What is left to do, innermost first.
pub type Frames<'gc> = Option<Gc<'gc, Frame<'gc>>>;

/// Something that waits for a value. A frame is never changed, so that many may lead to it.
#[derive(Trace)]
pub struct Frame<'gc> {
    pub wait: Wait<'gc>,
    pub then: Frames<'gc>,
}

#[derive(Clone, Copy, Trace)]
pub enum Wait<'gc> {
    Part(Part<'gc>),
    /// Has the value, but a handler for what is raised.
    Catch(Value<'gc>),
}

/// Code that waits for one of its parts.
#[derive(Clone, Copy, Trace)]
pub struct Part<'gc> {
    code: Gc<'gc, Code<'gc>>,
    scope: Scope<'gc>,
    index: usize,
    /// The values of the parts before, as a list, the last first.
    done: Value<'gc>,
}

impl<'gc> State<'gc> {
    pub fn of(value: Value<'gc>) -> State<'gc> {
        State { now: Now::Return(value), then: None }
    }

    /// The value of the program, if it is at its end.
    pub fn end(&self) -> Option<Value<'gc>> {
        match (self.now, self.then) {
            (Now::Return(value), None) => Some(value),
            _ => None,
        }
    }
}

impl<'gc> Run<'_, 'gc> {
    /// The state after the next step. When there is none, nothing has changed, so that the step can be made again.
    pub fn step(self, state: State<'gc>) -> Outcome<'gc, State<'gc>> {
        let then = state.then;
        match state.now {
            Now::Eval(code, scope) => self.eval(code, scope, then),
            Now::Call(procedure, argument) => self.call(procedure, argument.as_slice(), then),
            Now::Return(value) => match then {
                None => Ok(state),
                Some(frame) => match frame.wait {
                    Wait::Catch(_) => Ok(State { now: state.now, then: frame.then }),
                    Wait::Part(part) => self.resume(part, value, frame.then),
                },
            },
        }
    }

    fn eval(
        self,
        code: Gc<'gc, Code<'gc>>,
        scope: Scope<'gc>,
        then: Frames<'gc>,
    ) -> Outcome<'gc, State<'gc>> {
        let part = match *code {
            Code::If(test, ..) => test,
            Code::Sequence(codes) => codes[0],
            Code::Call(codes) if self.machine.takes_at_once => {
                return self.arguments(code, codes, scope, then, Value::Nil, 0);
            }
            Code::Call(codes) => codes[0],
            Code::SetLocal(_, value) | Code::SetGlobal(_, value) | Code::Define(_, value) => value,
            _ => {
                let value = self.at_once(&code, scope)?.expect("code without parts has a value");
                return Ok(State { now: Now::Return(value), then });
            }
        };
        let first = Part { code, scope, index: 0, done: Value::Nil };
        Ok(State { now: Now::Eval(part, scope), then: self.push(Wait::Part(first), then)? })
    }

    /// The value of code that has no parts.
    fn at_once(self, code: &Code<'gc>, scope: Scope<'gc>) -> Outcome<'gc, Option<Value<'gc>>> {
        Ok(Some(match *code {
            Code::Constant(value) => value,
            Code::Local(place) => variable(scope, place).get(),
            Code::Global(symbol) => match symbol.global.get() {
                Some(value) => value,
                None => return wrong("undefined:", Value::Symbol(symbol)),
            },
            Code::Lambda(lambda) => close(self, lambda, scope)?,
            _ => return Ok(None),
        }))
    }

    /// Goes on with code one of whose parts has a value.
    fn resume(
        self,
        part: Part<'gc>,
        value: Value<'gc>,
        then: Frames<'gc>,
    ) -> Outcome<'gc, State<'gc>> {
        let Part { code, scope, index, done } = part;
        let nothing = State { now: Now::Return(Value::Nothing), then };
        match *code {
            Code::If(_, yes, no) => {
                let next = if value.is_true() { yes } else { no };
                Ok(State { now: Now::Eval(next, scope), then })
            }
            Code::SetLocal(place, _) => {
                variable(scope, place).set(self.cx, value);
                Ok(nothing)
            }
            Code::SetGlobal(symbol, _) if symbol.global.get().is_none() => {
                wrong("undefined:", Value::Symbol(symbol))
            }
            Code::SetGlobal(symbol, _) | Code::Define(symbol, _) => {
                symbol.global.set(self.cx, Some(value));
                Ok(nothing)
            }
            Code::Sequence(codes) => {
                let index = index + 1;
                let then = match index + 1 == codes.len() {
                    // Nothing is left to do behind the last: the frame is not needed any more.
                    true => then,
                    false => self.push(Wait::Part(Part { index, ..part }), then)?,
                };
                Ok(State { now: Now::Eval(codes[index], scope), then })
            }
            Code::Call(codes) if index + 1 == codes.len() => self.call_with(done, value, then),
            Code::Call(codes) => {
                let done = cons(self.cx, value, done)?;
                self.arguments(code, codes, scope, then, done, index + 1)
            }
            _ => unreachable!("code without parts waits for none"),
        }
    }

    /// Goes on with the parts of a call from some index on.
    fn arguments(
        self,
        code: Gc<'gc, Code<'gc>>,
        codes: Codes<'gc>,
        scope: Scope<'gc>,
        then: Frames<'gc>,
        mut done: Value<'gc>,
        from: usize,
    ) -> Outcome<'gc, State<'gc>> {
        for index in from..codes.len() {
            let known = match self.machine.takes_at_once {
                true => self.at_once(&codes[index], scope)?,
                false => None,
            };
            match known {
                Some(value) if index + 1 == codes.len() => {
                    return self.call_with(done, value, then);
                }
                Some(value) => done = cons(self.cx, value, done)?,
                None => {
                    let wait = Wait::Part(Part { code, scope, index, done });
                    let then = self.push(wait, then)?;
                    return Ok(State { now: Now::Eval(codes[index], scope), then });
                }
            }
        }
        unreachable!("the last part ends the loop")
    }

    /// Calls the last of `done` with the others and `last`.
    fn call_with(
        self,
        done: Value<'gc>,
        last: Value<'gc>,
        then: Frames<'gc>,
    ) -> Outcome<'gc, State<'gc>> {
        let mut values = vec![last];
        let mut at = done;
        while let Value::Pair(pair) = at {
            values.push(pair.first.get());
            at = pair.rest.get();
        }
        values.reverse();
        self.call(values[0], &values[1..], then)
    }

    /// Calls a procedure.
    pub fn call(
        self,
        procedure: Value<'gc>,
        arguments: &[Value<'gc>],
        then: Frames<'gc>,
    ) -> Outcome<'gc, State<'gc>> {
        match procedure {
            Value::Closure(closure) => {
                let scope = enter(self, closure, arguments)?;
                Ok(State { now: Now::Eval(closure.lambda.body, scope), then })
            }
            Value::Primitive(primitive) => match primitive.check(arguments)?.action {
                Action::Plain(action) => {
                    Ok(State { now: Now::Return(action(self, arguments)?), then })
                }
                Action::Control(action) => action(self, arguments, then),
            },
            Value::Continuation(then) => match *arguments {
                [value] => Ok(State { now: Now::Return(value), then }),
                _ => wrong("wrong number of arguments to", procedure),
            },
            Value::Guardian(guardian) => {
                let value = Guardian::call(guardian, self, arguments)?;
                Ok(State { now: Now::Return(value), then })
            }
            other => wrong("not a procedure:", other),
        }
    }

    /// Puts a frame before others.
    pub fn push(self, wait: Wait<'gc>, then: Frames<'gc>) -> Outcome<'gc, Frames<'gc>> {
        Ok(Some(Gc::try_new(self.cx, Frame { wait, then })?))
    }

    /// The state after a value was raised, or `None` when nobody handles it. It takes no memory.
    pub fn raise(self, value: Value<'gc>, frames: Frames<'gc>) -> Option<State<'gc>> {
        let mut at = frames;
        while let Some(frame) = at {
            if let Wait::Catch(handler) = frame.wait {
                return Some(State { now: Now::Call(handler, Some(value)), then: frame.then });
            }
            at = frame.then;
        }
        None
    }

    /// The value that a fault raises; `Err` when a boundary may help, and the step is to be made again.
    pub fn raised(self, fault: Fault<'gc>) -> Result<Value<'gc>, AllocError> {
        let made = match fault {
            Fault::Raised(value) => return Ok(value),
            Fault::Wrong(message, culprit) => condition(self.cx, &message, culprit),
            fault => Err(fault),
        };
        match made {
            Ok(value) => Ok(value),
            Err(Fault::Memory(error @ AllocError::NeedsBoundary(_))) => Err(error),
            Err(_) => {
                self.machine.reserve.set(self.cx, None);
                Ok(self.machine.no_memory)
            }
        }
    }
}
