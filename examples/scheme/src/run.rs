//! The loop that does instructions.

use crate::arithmetic::{add, compare_numbers, numbers_equal, subtract};
use crate::code::{Capture, Op};
use crate::machine::Vm;
use crate::primitive::{Run, primitive_at};
use crate::value::{Closure, Fault, Kind, Outcome, Value, cons, elements, fault, wrong};
use mallocgc::typed::{Gc, Lock};
use std::cmp::Ordering;

/// Calls between looks at whether the heap wants a boundary.
const CALLS_BETWEEN_LOOKS: usize = 64;

#[cold]
fn unbound<'gc>(name: Value<'gc>) -> Fault<'gc> {
    fault(Kind::Primitive, "undefined variable", &[name])
}

#[cold]
fn too_early<'gc>() -> Fault<'gc> {
    fault(Kind::Primitive, "a variable is used before it is initialized", &[])
}

impl<'gc> Vm<'gc, '_> {
    /// Goes on until the program is at its end, with its value, or a boundary is due.
    pub(crate) fn run(&mut self) -> Outcome<'gc, Option<Value<'gc>>> {
        loop {
            if let Some(count) = self.apply {
                self.calls_left -= 1;
                if self.calls_left == 0
                    || (self.calls_left.is_multiple_of(CALLS_BETWEEN_LOOKS)
                        && self.cx.wants_boundary())
                {
                    self.calls_left = 1;
                    return Ok(None);
                }
                self.call(count)?;
                continue;
            }
            match self.instructions() {
                Ok(Some(value)) => return Ok(Some(value)),
                Ok(None) => {}
                Err(fault) => {
                    // Back to the instruction that failed, which may be done again.
                    self.pc -= 1;
                    return Err(fault);
                }
            }
        }
    }

    /// Does instructions until a call is due. One that fails has changed nothing, and `pc` is behind it.
    fn instructions(&mut self) -> Outcome<'gc, Option<Value<'gc>>> {
        loop {
            let closure: &'gc Closure<'gc> = self.closure.as_ref();
            let code = closure.code.as_ref();
            let (ops, constants) = (code.ops.as_ref(), code.constants.as_ref());
            loop {
                let op = ops[self.pc].0;
                self.pc += 1;
                match op {
                    Op::Constant(index) => self.push(constants[index as usize]),
                    Op::Fixnum(n) => self.push(Value::Fixnum(i64::from(n))),
                    Op::Local(slot) => self.push(self.stack[self.fp + slot as usize].get()),
                    Op::LocalChecked(slot) => {
                        let value = self.stack[self.fp + slot as usize].get();
                        if matches!(value, Value::Undefined) {
                            return Err(too_early());
                        }
                        self.push(value);
                    }
                    Op::LocalBoxed(slot) => {
                        let value = unboxed(&self.stack[self.fp + slot as usize])?;
                        self.push(value);
                    }
                    Op::Free(index) => self.push(closure.free[index as usize].get()),
                    Op::FreeBoxed(index) => {
                        let value = unboxed(&closure.free[index as usize])?;
                        self.push(value);
                    }
                    Op::Global(index) => {
                        let Value::Global(global) = constants[index as usize] else {
                            unreachable!()
                        };
                        let value = global.value.get();
                        if matches!(value, Value::Undefined) {
                            return Err(unbound(Value::Symbol(global.name)));
                        }
                        self.push(value);
                    }
                    Op::SetLocal(slot) => {
                        self.sp -= 1;
                        self.put(self.fp + slot as usize, self.stack[self.sp].get());
                    }
                    Op::SetLocalBoxed(slot) => {
                        self.sp -= 1;
                        let place = &self.stack[self.fp + slot as usize];
                        self.set_boxed(place);
                    }
                    Op::SetFreeBoxed(index) => {
                        self.sp -= 1;
                        self.set_boxed(&closure.free[index as usize]);
                    }
                    Op::SetGlobal(index) => {
                        let Value::Global(global) = constants[index as usize] else {
                            unreachable!()
                        };
                        if matches!(global.value.get(), Value::Undefined) {
                            return Err(unbound(Value::Symbol(global.name)));
                        }
                        self.sp -= 1;
                        global.value.set(self.cx, self.stack[self.sp].get());
                    }
                    Op::DefineGlobal(index) => {
                        let Value::Global(global) = constants[index as usize] else {
                            unreachable!()
                        };
                        self.sp -= 1;
                        global.value.set(self.cx, self.stack[self.sp].get());
                    }
                    Op::Box(slot) => {
                        let slot = self.fp + slot as usize;
                        let boxed = Gc::try_new(self.cx, Lock::new(self.stack[slot].get()))?;
                        self.put(slot, Value::Boxed(boxed));
                    }
                    Op::Closure(index) => {
                        let Value::Code(code) = constants[index as usize] else { unreachable!() };
                        let free = if code.captures.is_empty() {
                            self.machine.empty
                        } else {
                            let captured = code.captures.iter().map(|capture| match capture.0 {
                                Capture::Local(slot) => self.stack[self.fp + slot as usize].get(),
                                Capture::Free(index) => closure.free[index as usize].get(),
                            });
                            elements(self.cx, captured)?
                        };
                        let made = Gc::try_new(self.cx, Closure { code, free })?;
                        self.push(Value::Closure(made));
                    }
                    Op::Patch { closure, free, from } => {
                        let value = self.stack[self.fp + from as usize].get();
                        if let Value::Closure(made) = self.stack[self.fp + closure as usize].get() {
                            made.free[free as usize].set(self.cx, value);
                        }
                    }
                    Op::Jump(to) => self.pc = to as usize,
                    Op::JumpIfFalse(to) => {
                        self.sp -= 1;
                        if !self.stack[self.sp].get().is_true() {
                            self.pc = to as usize;
                        }
                    }
                    Op::Frame(to) => self.push(Value::Return(to, (self.sp - self.fp) as u32)),
                    Op::Call(count) => {
                        if self.enter_at_once(count as usize) {
                            break;
                        }
                        self.apply = Some(count as usize);
                        return Ok(None);
                    }
                    Op::TailCall(count) => {
                        let count = count as usize;
                        let from = self.sp - count - 1;
                        let to = self.fp - 1;
                        for index in 0..=count {
                            self.put(to + index, self.stack[from + index].get());
                        }
                        self.sp = to + count + 1;
                        if self.enter_at_once(count) {
                            break;
                        }
                        self.apply = Some(count);
                        return Ok(None);
                    }
                    Op::Return => {
                        let value = self.top();
                        self.sp = self.fp - 1;
                        self.return_value(value);
                        break;
                    }
                    Op::Pop => self.sp -= 1,
                    Op::Slide(count) => {
                        let value = self.top();
                        self.sp -= count as usize;
                        self.put(self.sp - 1, value);
                    }
                    Op::Primitive { index, count } => {
                        let base = self.sp - count as usize;
                        let Run::Plain(run) = primitive_at(index).run else { unreachable!() };
                        let value = run(self, &self.stack[base..self.sp])?;
                        self.sp = base;
                        self.push(value);
                    }
                    Op::Car => {
                        let pair = self.top().pair()?;
                        self.put(self.sp - 1, pair.first.get());
                    }
                    Op::Cdr => {
                        let pair = self.top().pair()?;
                        self.put(self.sp - 1, pair.rest.get());
                    }
                    Op::Cons => {
                        let (first, rest) = self.two();
                        let pair = cons(self.cx, first, rest)?;
                        self.replace_two(pair);
                    }
                    Op::Add => {
                        let sum = match self.two() {
                            (Value::Fixnum(a), Value::Fixnum(b)) => a.checked_add(b),
                            _ => None,
                        };
                        let sum = match sum {
                            Some(sum) => Value::Fixnum(sum),
                            None => {
                                let (a, b) = self.two();
                                add(self.cx, a, b)?
                            }
                        };
                        self.replace_two(sum);
                    }
                    Op::Subtract => {
                        let difference = match self.two() {
                            (Value::Fixnum(a), Value::Fixnum(b)) => a.checked_sub(b),
                            _ => None,
                        };
                        let difference = match difference {
                            Some(difference) => Value::Fixnum(difference),
                            None => {
                                let (a, b) = self.two();
                                subtract(self.cx, a, b)?
                            }
                        };
                        self.replace_two(difference);
                    }
                    Op::AddFixnum(n) => {
                        let n = i64::from(n);
                        let sum = match self.top() {
                            Value::Fixnum(a) => a.checked_add(n),
                            _ => None,
                        };
                        let sum = match sum {
                            Some(sum) => Value::Fixnum(sum),
                            None => add(self.cx, self.top(), Value::Fixnum(n))?,
                        };
                        self.put(self.sp - 1, sum);
                    }
                    Op::Less => self.compare(|order| order == Ordering::Less)?,
                    Op::Greater => self.compare(|order| order == Ordering::Greater)?,
                    Op::LessOrEqual => self.compare(|order| order != Ordering::Greater)?,
                    Op::GreaterOrEqual => self.compare(|order| order != Ordering::Less)?,
                    Op::NumbersEqual => {
                        let (a, b) = self.two();
                        let equal = match (a, b) {
                            (Value::Fixnum(a), Value::Fixnum(b)) => a == b,
                            _ => numbers_equal(a, b)?,
                        };
                        self.replace_two(Value::Bool(equal));
                    }
                    Op::Eq => {
                        let (a, b) = self.two();
                        self.replace_two(Value::Bool(a.is(b)));
                    }
                    Op::IsNull => {
                        let is = matches!(self.top(), Value::Nil);
                        self.put(self.sp - 1, Value::Bool(is));
                    }
                    Op::IsPair => {
                        let is = matches!(self.top(), Value::Pair(_));
                        self.put(self.sp - 1, Value::Bool(is));
                    }
                    Op::Not => {
                        let is = !self.top().is_true();
                        self.put(self.sp - 1, Value::Bool(is));
                    }
                    Op::VectorRef => {
                        let (vector, index) = self.two();
                        let items = vector.vector()?;
                        let Some(item) = items.get(index.index()?) else {
                            return Err(wrong("an index of the vector", index));
                        };
                        self.replace_two(item.get());
                    }
                    Op::Halt => return Ok(Some(self.top())),
                    Op::Underflow => {
                        self.underflow()?;
                        break;
                    }
                    Op::RestoreDynamic => {
                        let value = self.top();
                        self.dynamic = self.stack[self.fp].get();
                        self.sp = self.fp - 1;
                        self.return_value(value);
                        break;
                    }
                    Op::Receive => {
                        let consumer = self.stack[self.fp].get();
                        let values = match self.top() {
                            Value::Values(values) => values.items.iter().map(|v| v.get()).collect(),
                            value => vec![value],
                        };
                        self.receive(consumer, &values)?;
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Begins a call of a closure that takes just so many arguments, if there is room and no boundary is to be
    /// looked for.
    #[inline(always)]
    fn enter_at_once(&mut self, count: usize) -> bool {
        let base = self.sp - count - 1;
        let Value::Closure(closure) = self.stack[base].get() else { return false };
        let code = closure.as_ref().code.as_ref();
        let end = base + 1 + code.slots as usize;
        if code.rest
            || code.required as usize != count
            || end > self.stack.len()
            || (self.calls_left - 1).is_multiple_of(CALLS_BETWEEN_LOOKS)
        {
            return false;
        }
        self.calls_left -= 1;
        self.high = self.high.max(end);
        self.fp = base + 1;
        self.closure = closure;
        self.pc = 0;
        true
    }

    /// Calls a procedure with values in place of the current frame.
    fn receive(&mut self, consumer: Value<'gc>, values: &[Value<'gc>]) -> Outcome<'gc, ()> {
        self.call_instead(self.fp - 1, consumer, values)
    }

    #[inline(always)]
    fn two(&self) -> (Value<'gc>, Value<'gc>) {
        (self.stack[self.sp - 2].get(), self.stack[self.sp - 1].get())
    }

    #[inline(always)]
    fn replace_two(&mut self, value: Value<'gc>) {
        self.sp -= 1;
        self.put(self.sp - 1, value);
    }

    #[inline(always)]
    fn compare(&mut self, holds: impl Fn(Ordering) -> bool) -> Outcome<'gc, ()> {
        let (a, b) = self.two();
        let order = match (a, b) {
            (Value::Fixnum(a), Value::Fixnum(b)) => Some(a.cmp(&b)),
            _ => compare_numbers(a, b)?,
        };
        self.replace_two(Value::Bool(order.is_some_and(holds)));
        Ok(())
    }

    fn set_boxed(&self, place: &Lock<Value<'gc>>) {
        if let Value::Boxed(boxed) = place.get() {
            boxed.set(self.cx, self.stack[self.sp].get());
        }
    }
}

/// What is in the box in a slot.
#[inline(always)]
fn unboxed<'gc>(place: &Lock<Value<'gc>>) -> Outcome<'gc> {
    let Value::Boxed(boxed) = place.get() else { unreachable!("a box was put here") };
    match boxed.get() {
        Value::Undefined => Err(too_early()),
        value => Ok(value),
    }
}
