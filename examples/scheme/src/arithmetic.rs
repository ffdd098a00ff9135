//! Numbers: the procedures of R7RS 6.2.

use crate::machine::Vm;
use crate::number::{self, Number, Rounding, divide_integers, is_number, number as number_of};
use crate::primitive::{ANY, Arguments, Primitive};
use crate::value::{Kind, Outcome, Value, fault, text, wrong};
use mallocgc::typed::Cx;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive};
use std::cmp::Ordering;

/// The sum.
pub(crate) fn add<'gc>(cx: &Cx<'gc>, a: Value<'gc>, b: Value<'gc>) -> Outcome<'gc> {
    match (a, b) {
        (Value::Flonum(a), Value::Flonum(b)) => Ok(Value::from(a.get() + b.get())),
        _ => number_of(a)?.add(number_of(b)?).value(cx),
    }
}

/// The difference.
pub(crate) fn subtract<'gc>(cx: &Cx<'gc>, a: Value<'gc>, b: Value<'gc>) -> Outcome<'gc> {
    match (a, b) {
        (Value::Flonum(a), Value::Flonum(b)) => Ok(Value::from(a.get() - b.get())),
        _ => number_of(a)?.subtract(number_of(b)?).value(cx),
    }
}

fn multiply<'gc>(cx: &Cx<'gc>, a: Value<'gc>, b: Value<'gc>) -> Outcome<'gc> {
    match (a, b) {
        (Value::Flonum(a), Value::Flonum(b)) => Ok(Value::from(a.get() * b.get())),
        (Value::Fixnum(a), Value::Fixnum(b)) if a.checked_mul(b).is_some() => {
            Ok(Value::Fixnum(a * b))
        }
        _ => number_of(a)?.multiply(number_of(b)?).value(cx),
    }
}

/// The order of two numbers; none if one is no number.
pub(crate) fn compare_numbers<'gc>(a: Value<'gc>, b: Value<'gc>) -> Outcome<'gc, Option<Ordering>> {
    match (a, b) {
        (Value::Fixnum(a), Value::Fixnum(b)) => Ok(Some(a.cmp(&b))),
        (Value::Flonum(a), Value::Flonum(b)) => Ok(a.get().partial_cmp(&b.get())),
        _ => Ok(number_of(a)?.compare(&number_of(b)?)),
    }
}

fn compare_all<'gc>(args: Arguments<'gc>, holds: fn(Ordering) -> bool) -> Outcome<'gc> {
    let mut all = true;
    number_of(args[0].get())?;
    for pair in args.windows(2) {
        all &= compare_numbers(pair[0].get(), pair[1].get())?.is_some_and(holds);
    }
    Ok(Value::from(all))
}

fn fold<'gc>(
    cx: &Cx<'gc>,
    args: Arguments<'gc>,
    unit: i64,
    op: fn(&Cx<'gc>, Value<'gc>, Value<'gc>) -> Outcome<'gc>,
) -> Outcome<'gc> {
    args.iter().try_fold(Value::Fixnum(unit), |all, arg| op(cx, all, arg.get()))
}

fn float(value: Value<'_>) -> Outcome<'_, f64> {
    Ok(number_of(value)?.float())
}

/// The integer that a value is, exact or not.
fn integer(value: Value<'_>) -> Outcome<'_, (BigInt, bool)> {
    let number = number_of(value)?;
    match number.is_integer() {
        true => Ok((number.integer(), number.is_exact())),
        false => Err(wrong("an integer", value)),
    }
}

fn integer_result<'gc>(cx: &Cx<'gc>, n: BigInt, exact: bool) -> Outcome<'gc> {
    match exact {
        true => Number::Big(n).value(cx),
        false => Ok(Value::from(n.to_f64().unwrap_or(f64::NAN))),
    }
}

/// A function of a flonum.
macro_rules! float_function {
    ($function:expr) => {
        |_, args| {
            let function: fn(f64) -> f64 = $function;
            Ok(Value::from(function(float(args[0].get())?)))
        }
    };
}

fn round<'gc>(
    cx: &Cx<'gc>,
    value: Value<'gc>,
    of_float: fn(f64) -> f64,
    of_ratio: fn(&BigRational) -> BigInt,
) -> Outcome<'gc> {
    match number_of(value)? {
        Number::Flo(n) => Ok(Value::from(of_float(n))),
        Number::Ratio(n) => Number::Big(of_ratio(&n)).value(cx),
        _ => Ok(value),
    }
}

/// To the nearest, halves to the even one.
fn round_ratio(n: &BigRational) -> BigInt {
    let two = BigInt::from(2);
    let doubled: BigInt = n.numer() * &two + n.denom();
    let divisor: BigInt = n.denom() * &two;
    let (quotient, remainder) = num_integer::Integer::div_mod_floor(&doubled, &divisor);
    let is_half = remainder == BigInt::ZERO;
    if is_half && num_integer::Integer::is_odd(&quotient) { quotient - 1 } else { quotient }
}

fn division<'gc>(
    vm: &mut Vm<'gc, '_>,
    args: Arguments<'gc>,
    rounding: Rounding,
    part: fn((Number, Number)) -> Number,
) -> Outcome<'gc> {
    part(divide_integers(args[0].get(), args[1].get(), rounding)?).value(vm.cx)
}

fn both<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>, rounding: Rounding) -> Outcome<'gc> {
    let (quotient, remainder) = divide_integers(args[0].get(), args[1].get(), rounding)?;
    let values = [quotient.value(vm.cx)?, remainder.value(vm.cx)?];
    vm.several(&values)
}

fn expt<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let (base, exponent) = (number_of(args[0].get())?, number_of(args[1].get())?);
    if exponent.is_exact() && exponent.is_integer() {
        if base.is_exact() && base.is_zero() && exponent.is_negative() {
            return Err(fault(Kind::Primitive, "division by zero", &[args[0].get()]));
        }
        match number::power(&base, &exponent.integer()) {
            Some(power) => return power.value(vm.cx),
            None if base.is_exact() => {
                return Err(fault(Kind::Primitive, "too large a power", &[args[1].get()]));
            }
            None => {}
        }
    }
    if matches!(&exponent, Number::Ratio(half) if *half == BigRational::new(1.into(), 2.into())) {
        return square_root(vm, &base);
    }
    Ok(Value::from(base.float().powf(exponent.float())))
}

fn sqrt<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    square_root(vm, &number_of(args[0].get())?)
}

fn square_root<'gc>(vm: &mut Vm<'gc, '_>, n: &Number) -> Outcome<'gc> {
    if n.is_exact() && !n.is_negative() {
        let parts = match n {
            Number::Ratio(n) => (n.numer().clone(), n.denom().clone()),
            n => (n.integer(), BigInt::from(1)),
        };
        let roots = (parts.0.sqrt(), parts.1.sqrt());
        if &roots.0 * &roots.0 == parts.0 && &roots.1 * &roots.1 == parts.1 {
            return Number::Big(roots.0).divide(Number::Big(roots.1))?.value(vm.cx);
        }
    }
    Ok(Value::from(n.float().sqrt()))
}

fn exact_integer_sqrt<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let (n, exact) = integer(args[0].get())?;
    if n.is_negative() || !exact {
        return Err(wrong("an exact integer that is not negative", args[0].get()));
    }
    let root = n.sqrt();
    let rest = n - &root * &root;
    let values = [Number::Big(root).value(vm.cx)?, Number::Big(rest).value(vm.cx)?];
    vm.several(&values)
}

fn gcd_or_lcm<'gc>(
    vm: &mut Vm<'gc, '_>,
    args: Arguments<'gc>,
    unit: i64,
    op: fn(&BigInt, &BigInt) -> BigInt,
) -> Outcome<'gc> {
    let (mut all, mut exact) = (BigInt::from(unit), true);
    for arg in args {
        let (n, is_exact) = integer(arg.get())?;
        all = op(&all, &n);
        exact &= is_exact;
    }
    integer_result(vm.cx, all.abs(), exact)
}

fn radix(args: Arguments<'_>) -> Outcome<'_, u32> {
    match args.get(1).map(|arg| arg.get()) {
        None => Ok(10),
        Some(Value::Fixnum(n @ 2..=36)) => Ok(n as u32),
        Some(other) => Err(wrong("a radix", other)),
    }
}

fn number_to_string<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    text(vm.cx, &number::to_string(&number_of(args[0].get())?, radix(args)?))
}

fn string_to_number<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let string = crate::value::to_string(args[0].get().text()?);
    match number::parse(&string, radix(args)?) {
        Some(number) => number.value(vm.cx),
        None => Ok(Value::False),
    }
}

fn extreme<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>, wanted: Ordering) -> Outcome<'gc> {
    let mut best = number_of(args[0].get())?;
    let mut exact = best.is_exact();
    for arg in &args[1..] {
        let other = number_of(arg.get())?;
        exact &= other.is_exact();
        let is_nan = matches!(other, Number::Flo(n) if n.is_nan());
        if is_nan || other.compare(&best) == Some(wanted) {
            best = other;
        }
    }
    if exact { best.value(vm.cx) } else { Ok(Value::from(best.float())) }
}

fn exact<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    match number_of(args[0].get())?.exact() {
        Some(number) => number.value(vm.cx),
        None => Err(wrong("a finite number", args[0].get())),
    }
}

fn test(value: Value<'_>, holds: fn(&Number) -> bool) -> Outcome<'_> {
    Ok(Value::from(holds(&number_of(value)?)))
}

fn logarithm<'gc>(_: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    if let (Value::Fixnum(1), 1) = (args[0].get(), args.len()) {
        return Ok(Value::Fixnum(0));
    }
    let n = float(args[0].get())?;
    Ok(Value::from(match args.get(1) {
        Some(base) => n.ln() / float(base.get())?.ln(),
        None => n.ln(),
    }))
}

/// The simplest ratio between two numbers.
fn simplest(low: &BigRational, high: &BigRational) -> BigRational {
    let floor = low.floor();
    if &floor == low {
        return floor;
    }
    if floor < high.floor() {
        return floor + BigInt::from(1);
    }
    let rest = simplest(&(high - &floor).recip(), &(low - &floor).recip());
    floor + rest.recip()
}

fn rationalize<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let (x, y) = (number_of(args[0].get())?, number_of(args[1].get())?);
    let exact = x.is_exact() && y.is_exact();
    let infinite = |n: &Number| n.float().is_infinite();
    if infinite(&y) {
        return Ok(Value::from(if infinite(&x) { f64::NAN } else { 0.0 }));
    }
    let ratio = |n: Number| match n.exact() {
        Some(Number::Ratio(n)) => Some(n),
        Some(n) => Some(BigRational::from_integer(n.integer())),
        None => None,
    };
    let (Some(middle), Some(distance)) = (ratio(x), ratio(y)) else { return Ok(args[0].get()) };
    let distance = distance.abs();
    let (low, high) = (&middle - &distance, &middle + &distance);
    let zero = BigRational::from_integer(BigInt::ZERO);
    let found = if low <= zero && high >= zero {
        zero
    } else if high < zero {
        -simplest(&-high, &-low)
    } else {
        simplest(&low, &high)
    };
    let found = Number::Ratio(found);
    if exact { found.value(vm.cx) } else { Ok(Value::from(found.float())) }
}

fn divide<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let first = number_of(args[0].get())?;
    let result = match &args[1..] {
        [] => Number::Fix(1).divide(first)?,
        rest => rest.iter().try_fold(first, |all, arg| all.divide(number_of(arg.get())?))?,
    };
    result.value(vm.cx)
}

fn minus<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    match &args[1..] {
        [] => multiply(vm.cx, Value::Fixnum(-1), args[0].get()),
        rest => rest.iter().try_fold(args[0].get(), |all, arg| subtract(vm.cx, all, arg.get())),
    }
}

/// The procedures.
pub(crate) const PRIMITIVES: &[Primitive] = &[
    Primitive::plain("+", 0, ANY, |vm, args| fold(vm.cx, args, 0, add)),
    Primitive::plain("*", 0, ANY, |vm, args| fold(vm.cx, args, 1, multiply)),
    Primitive::plain("-", 1, ANY, minus),
    Primitive::plain("/", 1, ANY, divide),
    Primitive::plain("=", 1, ANY, |_, args| compare_all(args, |o| o == Ordering::Equal)),
    Primitive::plain("<", 1, ANY, |_, args| compare_all(args, |o| o == Ordering::Less)),
    Primitive::plain(">", 1, ANY, |_, args| compare_all(args, |o| o == Ordering::Greater)),
    Primitive::plain("<=", 1, ANY, |_, args| compare_all(args, |o| o != Ordering::Greater)),
    Primitive::plain(">=", 1, ANY, |_, args| compare_all(args, |o| o != Ordering::Less)),
    Primitive::plain("number?", 1, 1, |_, args| Ok(Value::from(is_number(args[0].get())))),
    Primitive::plain("complex?", 1, 1, |_, args| Ok(Value::from(is_number(args[0].get())))),
    Primitive::plain("real?", 1, 1, |_, args| Ok(Value::from(is_number(args[0].get())))),
    Primitive::plain("rational?", 1, 1, |_, args| {
        let value = args[0].get();
        Ok(Value::from(
            is_number(value) && number_of(value)?.float().is_finite()
                || matches!(value, Value::Big(_) | Value::Ratio(_)),
        ))
    }),
    Primitive::plain("integer?", 1, 1, |_, args| {
        let value = args[0].get();
        Ok(Value::from(is_number(value) && number_of(value)?.is_integer()))
    }),
    Primitive::plain("exact-rational?", 1, 1, |_, args| {
        Ok(Value::from(matches!(args[0].get(), Value::Fixnum(_) | Value::Big(_) | Value::Ratio(_))))
    }),
    Primitive::plain("exact-integer?", 1, 1, |_, args| {
        Ok(Value::from(matches!(args[0].get(), Value::Fixnum(_) | Value::Big(_))))
    }),
    Primitive::plain("exact?", 1, 1, |_, args| test(args[0].get(), Number::is_exact)),
    Primitive::plain("inexact?", 1, 1, |_, args| test(args[0].get(), |n| !n.is_exact())),
    Primitive::plain("finite?", 1, 1, |_, args| {
        test(args[0].get(), |n| n.is_exact() || n.float().is_finite())
    }),
    Primitive::plain("infinite?", 1, 1, |_, args| {
        test(args[0].get(), |n| !n.is_exact() && n.float().is_infinite())
    }),
    Primitive::plain("nan?", 1, 1, |_, args| {
        test(args[0].get(), |n| !n.is_exact() && n.float().is_nan())
    }),
    Primitive::plain("zero?", 1, 1, |_, args| test(args[0].get(), Number::is_zero)),
    Primitive::plain("positive?", 1, 1, |_, args| {
        test(args[0].get(), |n| n.compare(&Number::Fix(0)) == Some(Ordering::Greater))
    }),
    Primitive::plain("negative?", 1, 1, |_, args| test(args[0].get(), Number::is_negative)),
    Primitive::plain("odd?", 1, 1, |_, args| {
        Ok(Value::from(num_integer::Integer::is_odd(&integer(args[0].get())?.0)))
    }),
    Primitive::plain("even?", 1, 1, |_, args| {
        Ok(Value::from(num_integer::Integer::is_even(&integer(args[0].get())?.0)))
    }),
    Primitive::plain("max", 1, ANY, |vm, args| extreme(vm, args, Ordering::Greater)),
    Primitive::plain("min", 1, ANY, |vm, args| extreme(vm, args, Ordering::Less)),
    Primitive::plain("abs", 1, 1, |vm, args| match number_of(args[0].get())? {
        Number::Flo(n) => Ok(Value::from(n.abs())),
        n if n.is_negative() => multiply(vm.cx, Value::Fixnum(-1), args[0].get()),
        _ => Ok(args[0].get()),
    }),
    Primitive::plain("quotient", 2, 2, |vm, args| division(vm, args, Rounding::Truncate, |b| b.0)),
    Primitive::plain("remainder", 2, 2, |vm, args| division(vm, args, Rounding::Truncate, |b| b.1)),
    Primitive::plain("modulo", 2, 2, |vm, args| division(vm, args, Rounding::Floor, |b| b.1)),
    Primitive::plain("truncate-quotient", 2, 2, |vm, args| {
        division(vm, args, Rounding::Truncate, |b| b.0)
    }),
    Primitive::plain("truncate-remainder", 2, 2, |vm, args| {
        division(vm, args, Rounding::Truncate, |b| b.1)
    }),
    Primitive::plain("floor-quotient", 2, 2, |vm, args| {
        division(vm, args, Rounding::Floor, |b| b.0)
    }),
    Primitive::plain("floor-remainder", 2, 2, |vm, args| {
        division(vm, args, Rounding::Floor, |b| b.1)
    }),
    Primitive::plain("floor/", 2, 2, |vm, args| both(vm, args, Rounding::Floor)),
    Primitive::plain("truncate/", 2, 2, |vm, args| both(vm, args, Rounding::Truncate)),
    Primitive::plain("gcd", 0, ANY, |vm, args| gcd_or_lcm(vm, args, 0, num_integer::Integer::gcd)),
    Primitive::plain("lcm", 0, ANY, |vm, args| gcd_or_lcm(vm, args, 1, num_integer::Integer::lcm)),
    Primitive::plain("numerator", 1, 1, |vm, args| match number_of(args[0].get())?.exact() {
        Some(Number::Ratio(n)) if matches!(args[0].get(), Value::Flonum(_)) => {
            Ok(Value::from(n.numer().to_f64().unwrap_or(f64::NAN)))
        }
        Some(Number::Ratio(n)) => Number::Big(n.numer().clone()).value(vm.cx),
        _ => Ok(args[0].get()),
    }),
    Primitive::plain("denominator", 1, 1, |vm, args| {
        let inexact = matches!(args[0].get(), Value::Flonum(_));
        match number_of(args[0].get())?.exact() {
            Some(Number::Ratio(n)) => integer_result(vm.cx, n.denom().clone(), !inexact),
            _ if inexact => Ok(Value::from(1.0)),
            _ => Ok(Value::Fixnum(1)),
        }
    }),
    Primitive::plain("floor", 1, 1, |vm, args| {
        round(vm.cx, args[0].get(), f64::floor, |n| n.floor().to_integer())
    }),
    Primitive::plain("ceiling", 1, 1, |vm, args| {
        round(vm.cx, args[0].get(), f64::ceil, |n| n.ceil().to_integer())
    }),
    Primitive::plain("truncate", 1, 1, |vm, args| {
        round(vm.cx, args[0].get(), f64::trunc, |n| n.trunc().to_integer())
    }),
    Primitive::plain("round", 1, 1, |vm, args| {
        round(vm.cx, args[0].get(), f64::round_ties_even, round_ratio)
    }),
    Primitive::plain("rationalize", 2, 2, rationalize),
    Primitive::plain("exp", 1, 1, |_, args| match args[0].get() {
        Value::Fixnum(0) => Ok(Value::Fixnum(1)),
        value => Ok(Value::from(float(value)?.exp())),
    }),
    Primitive::plain("log", 1, 2, logarithm),
    Primitive::plain("sin", 1, 1, float_function!(f64::sin)),
    Primitive::plain("cos", 1, 1, float_function!(f64::cos)),
    Primitive::plain("tan", 1, 1, float_function!(f64::tan)),
    Primitive::plain("asin", 1, 1, float_function!(f64::asin)),
    Primitive::plain("acos", 1, 1, float_function!(f64::acos)),
    Primitive::plain("atan", 1, 2, |_, args| {
        let y = float(args[0].get())?;
        match args.get(1) {
            Some(x) => Ok(Value::from(y.atan2(float(x.get())?))),
            None => Ok(Value::from(y.atan())),
        }
    }),
    Primitive::plain("square", 1, 1, |vm, args| multiply(vm.cx, args[0].get(), args[0].get())),
    Primitive::plain("sqrt", 1, 1, sqrt),
    Primitive::plain("exact-integer-sqrt", 1, 1, exact_integer_sqrt),
    Primitive::plain("expt", 2, 2, expt),
    Primitive::plain("exact", 1, 1, exact),
    Primitive::plain("inexact->exact", 1, 1, exact),
    Primitive::plain("inexact", 1, 1, |_, args| Ok(Value::from(float(args[0].get())?))),
    Primitive::plain("exact->inexact", 1, 1, |_, args| Ok(Value::from(float(args[0].get())?))),
    Primitive::plain("number->string", 1, 2, number_to_string),
    Primitive::plain("string->number", 1, 2, string_to_number),
];
