//! The loop that does instructions.
//!
//! While it goes on the registers are [`Frame`]'s, which the compiler keeps in the processor's; the [`Vm`] has them again
//! whenever something else looks: a primitive, a fault, a call that is not of a closure with room on the stack.

use crate::arithmetic::{add, compare_numbers, subtract};
use crate::code::{Capture, Op, Orders};
use crate::machine::Vm;
use crate::primitive::{Run, primitive_at};
use crate::value::{Closure, Fault, Kind, Outcome, ReturnTo, Value, cons, elements, fault, wrong};
use mallocgc::typed::{Cx, Gc, Lock, Static};

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

/// The registers of what runs.
struct Frame<'gc, 'a> {
    cx: &'a Cx<'gc>,
    stack: &'gc [Lock<Value<'gc>>],
    closure: Gc<'gc, Closure<'gc>>,
    ops: &'gc [Static<Op>],
    constants: &'gc [Value<'gc>],
    sp: usize,
    fp: usize,
    pc: usize,
    high: usize,
    /// Calls until the next look.
    calls: usize,
}

impl<'gc> Frame<'gc, '_> {
    #[inline(always)]
    fn put(&self, slot: usize, value: Value<'gc>) {
        self.stack[slot].set(self.cx, value);
    }

    #[inline(always)]
    fn push(&mut self, value: Value<'gc>) {
        self.put(self.sp, value);
        self.sp += 1;
    }

    #[inline(always)]
    fn top(&self) -> Value<'gc> {
        self.stack[self.sp - 1].get()
    }

    #[inline(always)]
    fn replace_top(&self, value: Value<'gc>) {
        self.put(self.sp - 1, value);
    }

    /// The topmost two, the upper one last.
    #[inline(always)]
    fn two(&self) -> (Value<'gc>, Value<'gc>) {
        (self.stack[self.sp - 2].get(), self.top())
    }

    #[inline(always)]
    fn replace_two(&mut self, value: Value<'gc>) {
        self.sp -= 1;
        self.replace_top(value);
    }

    #[inline(always)]
    fn slot(&self, number: u32) -> &'gc Lock<Value<'gc>> {
        &self.stack[self.fp + number as usize]
    }

    #[inline(always)]
    fn local(&self, number: impl Into<u32>) -> Value<'gc> {
        self.slot(number.into()).get()
    }

    #[inline(always)]
    fn go_to(&mut self, to: u32) {
        self.pc = to as usize;
    }

    #[inline(always)]
    fn go_unless(&mut self, holds: bool, to: u32) {
        if !holds {
            self.go_to(to);
        }
    }

    /// What says that a call, whose frame begins at the top, returns to a place.
    #[inline(always)]
    fn return_to(&self, pc: u32) -> Value<'gc> {
        Value::Return(ReturnTo::new(pc, (self.sp - self.fp) as u32))
    }

    /// A global variable's value.
    #[inline(always)]
    fn global(&self, index: u32) -> Outcome<'gc> {
        let Value::Global(global) = self.constants[index as usize] else { unreachable!() };
        let value = global.as_ref().value.get();
        if matches!(value, Value::Undefined) {
            return Err(unbound(Value::Symbol(global.name)));
        }
        Ok(value)
    }

    /// Goes on in a closure whose frame begins at `fp`.
    #[inline(always)]
    fn go_on_in(&mut self, closure: Gc<'gc, Closure<'gc>>, fp: usize, pc: usize) {
        let code = closure.as_ref().code.as_ref();
        (self.ops, self.constants) = (code.ops.as_ref(), code.constants.as_ref());
        (self.closure, self.fp, self.pc) = (closure, fp, pc);
    }

    /// Leaves the frame, with a value.
    #[inline(always)]
    fn return_value(&mut self, value: Value<'gc>) {
        let at = self.fp - 2;
        let Value::Return(to) = self.stack[at].get() else { unreachable!("no place to return to") };
        self.put(at, value);
        self.sp = at + 1;
        let fp = at - to.back();
        let Value::Closure(closure) = self.stack[fp - 1].get() else {
            unreachable!("a frame is of a closure")
        };
        self.go_on_in(closure, fp, to.pc());
    }

    /// Begins a call of a closure that takes just so many arguments, if there is room and no boundary is to be
    /// looked for.
    #[inline(always)]
    fn enter_at_once(&mut self, count: usize) -> bool {
        let base = self.sp - count - 1;
        let Value::Closure(closure) = self.stack[base].get() else { return false };
        let code = closure.as_ref().code.as_ref();
        let end = base + 1 + code.slots as usize;
        let is_plain = !code.rest && code.required as usize == count;
        if !is_plain || end > self.stack.len() || self.calls == 0 {
            return false;
        }
        self.calls -= 1;
        self.high = self.high.max(end);
        self.go_on_in(closure, base + 1, 0);
        true
    }

    /// Moves a call over the frame that makes it.
    #[inline(always)]
    fn move_call_down(&mut self, count: usize) {
        let (from, to) = (self.sp - count - 1, self.fp - 1);
        for index in 0..=count {
            self.put(to + index, self.stack[from + index].get());
        }
        self.sp = to + count + 1;
    }

    #[inline(always)]
    fn set_boxed(&self, place: &Lock<Value<'gc>>) {
        if let Value::Boxed(boxed) = place.get() {
            boxed.set(self.cx, self.stack[self.sp].get());
        }
    }

    #[inline(always)]
    fn sum(&self, a: Value<'gc>, b: Value<'gc>) -> Outcome<'gc> {
        match (a, b) {
            (Value::Fixnum(x), Value::Fixnum(y)) => match x.checked_add(y) {
                Some(sum) => Ok(Value::Fixnum(sum)),
                None => add(self.cx, a, b),
            },
            _ => add(self.cx, a, b),
        }
    }

    #[inline(always)]
    fn difference(&self, a: Value<'gc>, b: Value<'gc>) -> Outcome<'gc> {
        match (a, b) {
            (Value::Fixnum(x), Value::Fixnum(y)) => match x.checked_sub(y) {
                Some(difference) => Ok(Value::Fixnum(difference)),
                None => subtract(self.cx, a, b),
            },
            _ => subtract(self.cx, a, b),
        }
    }
}

/// Whether two numbers are in one of these orders.
#[inline(always)]
fn are_in_order<'gc>(order: Orders, a: Value<'gc>, b: Value<'gc>) -> Outcome<'gc, bool> {
    match (a, b) {
        (Value::Fixnum(a), Value::Fixnum(b)) => Ok(order.has(a.cmp(&b))),
        _ => Ok(compare_numbers(a, b)?.is_some_and(|found| order.has(found))),
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

impl<'gc, 'a> Vm<'gc, 'a> {
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
            let mut frame = self.take_frame();
            let done = self.instructions(&mut frame);
            self.put_back(&frame);
            match done {
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

    #[inline(always)]
    fn take_frame(&self) -> Frame<'gc, 'a> {
        let code = self.closure.as_ref().code.as_ref();
        Frame {
            cx: self.cx,
            stack: self.stack,
            closure: self.closure,
            ops: code.ops.as_ref(),
            constants: code.constants.as_ref(),
            sp: self.sp,
            fp: self.fp,
            pc: self.pc,
            high: self.high,
            calls: (self.calls_left - 1) % CALLS_BETWEEN_LOOKS,
        }
    }

    /// Of the stack there is one, which the frame does not change.
    #[inline(always)]
    fn put_back(&mut self, frame: &Frame<'gc, 'a>) {
        (self.closure, self.sp, self.fp, self.pc) = (frame.closure, frame.sp, frame.fp, frame.pc);
        self.high = frame.high;
        self.calls_left -= (self.calls_left - 1) % CALLS_BETWEEN_LOOKS - frame.calls;
    }

    /// Does instructions until a call is due. One that fails has changed nothing, and `pc` is behind it.
    #[inline(always)]
    fn instructions(&mut self, frame: &mut Frame<'gc, 'a>) -> Outcome<'gc, Option<Value<'gc>>> {
        loop {
            let op = frame.ops[frame.pc].0;
            frame.pc += 1;
            match op {
                Op::Constant(index) => frame.push(frame.constants[index as usize]),
                Op::Fixnum(n) => frame.push(Value::Fixnum(i64::from(n))),
                Op::Local(slot) => frame.push(frame.local(slot)),
                Op::LocalChecked(slot) => {
                    let value = frame.local(slot);
                    if matches!(value, Value::Undefined) {
                        return Err(too_early());
                    }
                    frame.push(value);
                }
                Op::LocalBoxed(slot) => {
                    let value = unboxed(frame.slot(slot))?;
                    frame.push(value);
                }
                Op::Free(index) => frame.push(frame.closure.as_ref().free[index as usize].get()),
                Op::FreeBoxed(index) => {
                    let value = unboxed(&frame.closure.free[index as usize])?;
                    frame.push(value);
                }
                Op::Global(index) => {
                    let value = frame.global(index)?;
                    frame.push(value);
                }
                Op::SetLocal(slot) => {
                    frame.sp -= 1;
                    frame.slot(slot).set(frame.cx, frame.stack[frame.sp].get());
                }
                Op::SetLocalBoxed(slot) => {
                    frame.sp -= 1;
                    frame.set_boxed(frame.slot(slot));
                }
                Op::SetFreeBoxed(index) => {
                    frame.sp -= 1;
                    frame.set_boxed(&frame.closure.free[index as usize]);
                }
                Op::SetGlobal(index) => {
                    frame.global(index)?;
                    frame.sp -= 1;
                    self.define(frame, index);
                }
                Op::DefineGlobal(index) => {
                    frame.sp -= 1;
                    self.define(frame, index);
                }
                Op::Box(slot) => {
                    let slot = frame.slot(slot);
                    let boxed = Gc::try_new(frame.cx, Lock::new(slot.get()))?;
                    slot.set(frame.cx, Value::Boxed(boxed));
                }
                Op::Closure(index) => {
                    let Value::Code(code) = frame.constants[index as usize] else { unreachable!() };
                    let captures = code.as_ref().captures.as_ref();
                    let free = if captures.is_empty() {
                        self.machine.empty
                    } else {
                        // Copies: what a call can see must be in memory, for as long as the loop goes on.
                        let (locals, captured) = (&frame.stack[frame.fp..], frame.closure);
                        let values = captures.iter().map(|capture| match capture.0 {
                            Capture::Local(slot) => locals[slot as usize].get(),
                            Capture::Free(index) => captured.free[index as usize].get(),
                        });
                        elements(frame.cx, values)?
                    };
                    let made = Gc::try_new(frame.cx, Closure { code, free })?;
                    frame.push(Value::Closure(made));
                }
                Op::Patch { closure, free, from } => {
                    let value = frame.local(from);
                    if let Value::Closure(made) = frame.local(closure) {
                        made.free[free as usize].set(frame.cx, value);
                    }
                }
                Op::Jump(to) => frame.go_to(to),
                Op::JumpIfFalse(to) => {
                    frame.sp -= 1;
                    let is_true = frame.stack[frame.sp].get().is_true();
                    frame.go_unless(is_true, to);
                }
                Op::UnlessNull(to) => {
                    frame.sp -= 1;
                    let is_null = matches!(frame.stack[frame.sp].get(), Value::Nil);
                    frame.go_unless(is_null, to);
                }
                Op::UnlessNullLocal { slot, to } => {
                    let is_null = matches!(frame.local(slot), Value::Nil);
                    frame.go_unless(is_null, to);
                }
                Op::UnlessPair(to) => {
                    frame.sp -= 1;
                    let is_pair = matches!(frame.stack[frame.sp].get(), Value::Pair(_));
                    frame.go_unless(is_pair, to);
                }
                Op::UnlessPairLocal { slot, to } => {
                    let is_pair = matches!(frame.local(slot), Value::Pair(_));
                    frame.go_unless(is_pair, to);
                }
                Op::UnlessEq(to) => {
                    let (a, b) = frame.two();
                    frame.sp -= 2;
                    frame.go_unless(a.is(b), to);
                }
                Op::Unless { order, to } => {
                    let (a, b) = frame.two();
                    let holds = are_in_order(order, a, b)?;
                    frame.sp -= 2;
                    frame.go_unless(holds, to);
                }
                Op::UnlessFixnum { order, n, to } => {
                    let holds = are_in_order(order, frame.top(), Value::Fixnum(i64::from(n)))?;
                    frame.sp -= 1;
                    frame.go_unless(holds, to);
                }
                Op::UnlessLocalFixnum { order, slot, n, to } => {
                    let n = Value::Fixnum(i64::from(n));
                    let holds = are_in_order(order, frame.local(slot), n)?;
                    frame.go_unless(holds, to);
                }
                Op::UnlessLocals { order, a, b, to } => {
                    let holds = are_in_order(order, frame.local(a), frame.local(b))?;
                    frame.go_unless(holds, to);
                }
                Op::Frame(to) => frame.push(frame.return_to(to)),
                Op::FrameGlobal { to, index } => {
                    let value = frame.global(index)?;
                    frame.push(frame.return_to(to));
                    frame.push(value);
                }
                Op::Call(count) => {
                    if !frame.enter_at_once(count as usize) {
                        self.apply = Some(count as usize);
                        return Ok(None);
                    }
                }
                Op::TailCall(count) => {
                    frame.move_call_down(count as usize);
                    if !frame.enter_at_once(count as usize) {
                        self.apply = Some(count as usize);
                        return Ok(None);
                    }
                }
                Op::Return => frame.return_value(frame.top()),
                Op::ReturnLocal(slot) => frame.return_value(frame.local(slot)),
                Op::Pop => frame.sp -= 1,
                Op::Slide(count) => {
                    let value = frame.top();
                    frame.sp -= count as usize;
                    frame.replace_top(value);
                }
                Op::Primitive { index, count } => {
                    let base = frame.sp - count as usize;
                    let Run::Plain(run) = primitive_at(index).run else { unreachable!() };
                    self.put_back(frame);
                    let value = run(self, &frame.stack[base..frame.sp])?;
                    frame.sp = base;
                    frame.push(value);
                }
                Op::Car => frame.replace_top(frame.top().pair()?.as_ref().first.get()),
                Op::CarLocal(slot) => {
                    let pair = frame.local(slot).pair()?;
                    frame.push(pair.first.get());
                }
                Op::Cdr => frame.replace_top(frame.top().pair()?.as_ref().rest.get()),
                Op::CdrLocal(slot) => {
                    let pair = frame.local(slot).pair()?;
                    frame.push(pair.rest.get());
                }
                Op::Cons => {
                    let (first, rest) = frame.two();
                    let pair = cons(frame.cx, first, rest)?;
                    frame.replace_two(pair);
                }
                Op::Add => {
                    let (a, b) = frame.two();
                    let sum = frame.sum(a, b)?;
                    frame.replace_two(sum);
                }
                Op::AddFixnum(n) => {
                    let sum = frame.sum(frame.top(), Value::Fixnum(i64::from(n)))?;
                    frame.replace_top(sum);
                }
                Op::AddLocalFixnum { slot, n } => {
                    let sum = frame.sum(frame.local(slot), Value::Fixnum(i64::from(n)))?;
                    frame.push(sum);
                }
                Op::AddLocals { a, b } => {
                    let sum = frame.sum(frame.local(a), frame.local(b))?;
                    frame.push(sum);
                }
                Op::Subtract => {
                    let (a, b) = frame.two();
                    let difference = frame.difference(a, b)?;
                    frame.replace_two(difference);
                }
                Op::SubtractLocals { a, b } => {
                    let difference = frame.difference(frame.local(a), frame.local(b))?;
                    frame.push(difference);
                }
                Op::Compare(order) => {
                    let (a, b) = frame.two();
                    let holds = are_in_order(order, a, b)?;
                    frame.replace_two(Value::from(holds));
                }
                Op::Eq => {
                    let (a, b) = frame.two();
                    frame.replace_two(Value::from(a.is(b)));
                }
                Op::IsNull => {
                    let is = matches!(frame.top(), Value::Nil);
                    frame.replace_top(Value::from(is));
                }
                Op::IsPair => {
                    let is = matches!(frame.top(), Value::Pair(_));
                    frame.replace_top(Value::from(is));
                }
                Op::Not => {
                    let is = !frame.top().is_true();
                    frame.replace_top(Value::from(is));
                }
                Op::VectorRef => {
                    let (vector, index) = frame.two();
                    let items = vector.vector()?;
                    let Some(item) = items.get(index.index()?) else {
                        return Err(wrong("an index of the vector", index));
                    };
                    frame.replace_two(item.get());
                }
                Op::Halt => return Ok(Some(frame.top())),
                Op::Underflow => {
                    self.put_back(frame);
                    let done = self.underflow();
                    *frame = self.take_frame();
                    done?;
                }
                Op::RestoreDynamic => {
                    self.dynamic = frame.local(0u32);
                    frame.return_value(frame.top());
                }
                Op::Receive => {
                    let consumer = frame.local(0u32);
                    let values = match frame.top() {
                        Value::Values(values) => values.items.iter().map(|v| v.get()).collect(),
                        value => vec![value],
                    };
                    let base = frame.fp - 1;
                    self.put_back(frame);
                    let done = self.call_instead(base, consumer, &values);
                    *frame = self.take_frame();
                    done?;
                    return Ok(None);
                }
            }
        }
    }

    /// Sets a global variable to what was popped.
    #[inline(always)]
    fn define(&self, frame: &Frame<'gc, 'a>, index: u32) {
        let Value::Global(global) = frame.constants[index as usize] else { unreachable!() };
        global.value.set(self.cx, frame.stack[frame.sp].get());
    }
}
