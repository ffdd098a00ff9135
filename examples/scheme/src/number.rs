//! The numeric tower: fixnums of 64 bits, integers of any size, ratios, and flonums.
//!
//! Operations on two fixnums that do not overflow are done at once; all others on [`Number`]s, which are no heap
//! objects. [`Number::value`] puts the result into the heap, in its least form.

use crate::outside::Outside;
use crate::value::{Kind, Outcome, Value, fault, wrong};
use mallocgc::typed::{Cx, Gc, Static};
use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{Num, One, Signed, ToPrimitive, Zero};
use std::cmp::Ordering;

/// A number outside of the heap.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Number {
    Fix(i64),
    Big(BigInt),
    Ratio(BigRational),
    Flo(f64),
}

use Number::{Big, Fix, Flo, Ratio};

/// The number that a value is.
pub(crate) fn number(value: Value<'_>) -> Outcome<'_, Number> {
    Ok(match value {
        Value::Fixnum(n) => Fix(n),
        Value::Flonum(n) => Flo(n.get()),
        Value::Big(n) => Big(n.0.clone()),
        Value::Ratio(n) => Ratio(n.0.clone()),
        other => return Err(wrong("a number", other)),
    })
}

/// Whether a value is one.
pub(crate) fn is_number(value: Value<'_>) -> bool {
    matches!(value, Value::Fixnum(_) | Value::Flonum(_) | Value::Big(_) | Value::Ratio(_))
}

/// A function of two numbers that knows integers, ratios and flonums.
macro_rules! arithmetic {
    ($name:ident, $checked:ident, $op:tt) => {
        pub(crate) fn $name(self, other: Number) -> Number {
            match (&self, &other) {
                (Fix(a), Fix(b)) => match a.$checked(*b) {
                    Some(n) => Fix(n),
                    None => Big(BigInt::from(*a) $op BigInt::from(*b)),
                },
                (Flo(_), _) | (_, Flo(_)) => Flo(self.float() $op other.float()),
                (Ratio(_), _) | (_, Ratio(_)) => Ratio(self.ratio() $op other.ratio()),
                _ => Big(self.integer() $op other.integer()),
            }
        }
    };
}

impl Number {
    arithmetic!(add, checked_add, +);
    arithmetic!(subtract, checked_sub, -);
    arithmetic!(multiply, checked_mul, *);

    /// The value, in its least form.
    pub(crate) fn value<'gc>(self, cx: &Cx<'gc>) -> Outcome<'gc> {
        Ok(match self {
            Fix(n) => Value::Fixnum(n),
            Flo(n) => Value::from(n),
            Big(n) => match n.to_i64() {
                Some(n) => Value::Fixnum(n),
                None => {
                    let bytes = bytes_of(&n);
                    Value::Big(Gc::try_new(cx, Static(Outside::new(cx, n, bytes)?))?)
                }
            },
            Ratio(n) if n.is_integer() => return Big(n.to_integer()).value(cx),
            Ratio(n) => {
                let bytes = bytes_of(n.numer()) + bytes_of(n.denom());
                Value::Ratio(Gc::try_new(cx, Static(Outside::new(cx, n, bytes)?))?)
            }
        })
    }

    /// As a flonum.
    pub(crate) fn float(&self) -> f64 {
        match self {
            Fix(n) => *n as f64,
            Big(n) => n.to_f64().unwrap_or(f64::NAN),
            Ratio(n) => ratio_to_float(n),
            Flo(n) => *n,
        }
    }

    /// As an exact integer, which it is.
    pub(crate) fn integer(&self) -> BigInt {
        match self {
            Fix(n) => BigInt::from(*n),
            Big(n) => n.clone(),
            Ratio(n) => n.to_integer(),
            Flo(n) => num_traits::FromPrimitive::from_f64(*n).unwrap_or_default(),
        }
    }

    fn ratio(&self) -> BigRational {
        match self {
            Ratio(n) => n.clone(),
            other => BigRational::from_integer(other.integer()),
        }
    }

    pub(crate) fn is_exact(&self) -> bool {
        !matches!(self, Flo(_))
    }

    pub(crate) fn is_integer(&self) -> bool {
        match self {
            Fix(_) | Big(_) => true,
            Ratio(n) => n.is_integer(),
            Flo(n) => n.is_finite() && n.fract() == 0.0,
        }
    }

    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Fix(n) => *n == 0,
            Flo(n) => *n == 0.0,
            Big(n) => n.is_zero(),
            Ratio(n) => n.is_zero(),
        }
    }

    pub(crate) fn is_negative(&self) -> bool {
        match self {
            Fix(n) => *n < 0,
            Flo(n) => *n < 0.0,
            Big(n) => n.is_negative(),
            Ratio(n) => n.is_negative(),
        }
    }

    pub(crate) fn divide<'gc>(self, other: Number) -> Outcome<'gc, Number> {
        if other.is_exact() && other.is_zero() {
            return Err(fault(Kind::Primitive, "division by zero", &[]));
        }
        Ok(match (&self, &other) {
            (Flo(_), _) | (_, Flo(_)) => Flo(self.float() / other.float()),
            _ => Ratio(self.ratio() / other.ratio()),
        })
    }

    /// Order of two numbers; `None` if one is no number. Exact where both are.
    pub(crate) fn compare(&self, other: &Number) -> Option<Ordering> {
        match (self, other) {
            (Fix(a), Fix(b)) => Some(a.cmp(b)),
            (Flo(a), Flo(b)) => a.partial_cmp(b),
            // Infinity is beyond all exact numbers, also those that would round to it.
            (Flo(a), _) if !a.is_finite() => a.partial_cmp(&0.0),
            (_, Flo(b)) if !b.is_finite() => 0.0.partial_cmp(b),
            _ => Some(self.clone().exact()?.ratio().cmp(&other.clone().exact()?.ratio())),
        }
    }

    /// The exact number of the same value; none if it is infinite or no number.
    pub(crate) fn exact(self) -> Option<Number> {
        match self {
            Flo(n) if n.is_finite() => {
                if n.fract() == 0.0 {
                    return Some(Big(num_traits::FromPrimitive::from_f64(n)?));
                }
                Some(Ratio(BigRational::from_float(n)?))
            }
            Flo(_) => None,
            exact => Some(exact),
        }
    }
}

fn bytes_of(n: &BigInt) -> usize {
    n.bits() as usize / 8
}

/// The nearest flonum: both parts are scaled to 64 bits of quotient first.
fn ratio_to_float(ratio: &BigRational) -> f64 {
    if let (Some(n), Some(d)) = (ratio.numer().to_i64(), ratio.denom().to_i64())
        && n.unsigned_abs() < 1 << 53
        && d.unsigned_abs() < 1 << 53
    {
        return n as f64 / d as f64;
    }
    let shift = 66 - (ratio.numer().bits() as i64 - ratio.denom().bits() as i64);
    let scaled = |n: &BigInt, by: i64| if by > 0 { n << by as usize } else { n.clone() };
    let (numerator, denominator) = (scaled(ratio.numer(), shift), scaled(ratio.denom(), -shift));
    let (mut quotient, remainder) = numerator.div_rem(&denominator);
    if !remainder.is_zero() {
        // A last bit that keeps the rounding honest.
        quotient |= BigInt::one();
    }
    let value = quotient.to_f64().unwrap_or(f64::NAN);
    let half = 2f64.powi((-shift / 2) as i32);
    value * half * 2f64.powi((-shift - -shift / 2) as i32)
}

/// How integer division rounds.
#[derive(Clone, Copy)]
pub(crate) enum Rounding {
    Floor,
    Truncate,
}

/// Quotient and remainder of two integers, exact or not.
pub(crate) fn divide_integers<'gc>(
    a: Value<'gc>,
    b: Value<'gc>,
    rounding: Rounding,
) -> Outcome<'gc, (Number, Number)> {
    let (left, right) = (number(a)?, number(b)?);
    for (value, number) in [(a, &left), (b, &right)] {
        if !number.is_integer() {
            return Err(wrong("an integer", value));
        }
    }
    if right.is_zero() {
        return Err(fault(Kind::Primitive, "division by zero", &[a, b]));
    }
    if let (Fix(a), Fix(b)) = (&left, &right) {
        let both = match rounding {
            Rounding::Truncate => a.checked_div(*b).zip(a.checked_rem(*b)),
            Rounding::Floor => (*b != -1).then(|| a.div_mod_floor(b)),
        };
        if let Some((quotient, remainder)) = both {
            return Ok((Fix(quotient), Fix(remainder)));
        }
    }
    let exact = left.is_exact() && right.is_exact();
    let (quotient, remainder) = match rounding {
        Rounding::Truncate => left.integer().div_rem(&right.integer()),
        Rounding::Floor => left.integer().div_mod_floor(&right.integer()),
    };
    let result = (Big(quotient), Big(remainder));
    Ok(match exact {
        true => result,
        false => (Flo(result.0.float()), Flo(result.1.float())),
    })
}

/// Bits of a power: its digits are made before they can be counted.
const MOST_BITS: u64 = 1 << 30;

/// `base` to an exact integer power.
pub(crate) fn power(base: &Number, exponent: &BigInt) -> Option<Number> {
    if let Fix(n @ -1..=1) = base
        && !exponent.is_zero()
    {
        return Some(Fix(if exponent.is_even() { n * n } else { *n }));
    }
    let magnitude = exponent.abs().to_u32()?;
    let bits = match base {
        Ratio(n) => n.numer().bits().max(n.denom().bits()),
        integer if integer.is_exact() => integer.integer().bits(),
        _ => 0,
    };
    if bits > 1 && bits.saturating_mul(u64::from(magnitude)) > MOST_BITS {
        return None;
    }
    let raised = match base {
        Flo(n) => return Some(Flo(n.powf(exponent.to_f64()?))),
        Ratio(n) => Ratio(num_traits::pow(n.clone(), magnitude as usize)),
        integer => Big(integer.integer().pow(magnitude)),
    };
    if exponent.is_negative() && raised.is_exact() {
        return Fix(1).divide(raised).ok();
    }
    Some(raised)
}

/// What a number looks like.
pub(crate) fn to_string(number: &Number, radix: u32) -> String {
    match number {
        Fix(n) if radix == 10 => n.to_string(),
        Fix(n) => BigInt::from(*n).to_str_radix(radix),
        Big(n) => n.to_str_radix(radix),
        Ratio(n) => format!("{}/{}", n.numer().to_str_radix(radix), n.denom().to_str_radix(radix)),
        Flo(n) if n.is_nan() => "+nan.0".into(),
        Flo(n) if n.is_infinite() => if *n > 0.0 { "+inf.0" } else { "-inf.0" }.into(),
        Flo(n) if radix == 10 => format!("{n:?}"),
        Flo(n) => float_to_string(*n, radix),
    }
}

/// The digits of a finite flonum in a radix that is not ten: all of them, as far as they tell it from its neighbours.
fn float_to_string(n: f64, radix: u32) -> String {
    let exact = BigRational::from_float(n.abs()).unwrap_or_default();
    let whole = exact.to_integer();
    let mut text = if n.is_sign_negative() { "-".to_string() } else { String::new() };
    text.push_str(&whole.to_str_radix(radix));
    text.push('.');
    let mut rest = exact - BigRational::from_integer(whole.clone());
    // Half of the distance to the neighbours: less than that need not be told.
    let half =
        BigRational::from_float(n.abs().next_up() - n.abs()).unwrap_or_default() / BigInt::from(2);
    let base = BigInt::from(radix);
    let mut worth = BigRational::one();
    loop {
        rest *= &base;
        worth /= &base;
        let digit = rest.to_integer();
        rest -= BigRational::from_integer(digit.clone());
        text.push(std::char::from_digit(digit.to_u32().unwrap_or(0), radix).unwrap_or('0'));
        if rest.is_zero() || &rest * &worth < half {
            return text;
        }
    }
}

/// The number that a text is, with prefixes as `#x`.
pub(crate) fn parse(text: &str, mut radix: u32) -> Option<Number> {
    let mut rest = text;
    let (mut exactness, mut has_radix) = (None, false);
    while let Some(after) = rest.strip_prefix('#') {
        let prefix = after.chars().next()?.to_ascii_lowercase();
        let is_exactness = matches!(prefix, 'e' | 'i');
        if (is_exactness && exactness.is_some()) || (!is_exactness && has_radix) {
            return None;
        }
        match prefix {
            'x' => radix = 16,
            'd' => radix = 10,
            'o' => radix = 8,
            'b' => radix = 2,
            'e' | 'i' => exactness = Some(prefix),
            _ => return None,
        }
        has_radix |= !is_exactness;
        rest = &after[1..];
    }
    if exactness == Some('e')
        && radix == 10
        && let Some(exact) = parse_decimal_exactly(rest)
    {
        return Some(exact);
    }
    let number = parse_real(rest, radix)?;
    match exactness {
        Some('e') => number.exact(),
        Some('i') => Some(Flo(number.float())),
        _ => Some(number),
    }
}

fn parse_real(text: &str, radix: u32) -> Option<Number> {
    match text.to_ascii_lowercase().as_str() {
        "+inf.0" => return Some(Flo(f64::INFINITY)),
        "-inf.0" => return Some(Flo(f64::NEG_INFINITY)),
        "+nan.0" | "-nan.0" => return Some(Flo(f64::NAN)),
        _ => {}
    }
    if let Some(integer) = parse_integer(text, radix) {
        return Some(integer);
    }
    if let Some((above, below)) = text.split_once('/') {
        if below.starts_with(['+', '-']) {
            return None;
        }
        let (above, below) = (parse_integer(above, radix)?, parse_integer(below, radix)?);
        return above.divide(below).ok();
    }
    let digits = text.trim_start_matches(['+', '-']);
    let decimal = radix == 10
        && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && text.len() - digits.len() <= 1
        && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    decimal.then(|| text.parse().ok().map(Flo)).flatten()
}

fn parse_integer(text: &str, radix: u32) -> Option<Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    if let Ok(n) = i64::from_str_radix(text, radix) {
        return Some(Fix(n));
    }
    BigInt::from_str_radix(text, radix).ok().map(Big)
}

/// Digits of an exact number that is written with an exponent.
const MOST_DIGITS: u32 = 1_000_000;

/// A decimal fraction with an exponent, as a ratio.
fn parse_decimal_exactly(text: &str) -> Option<Number> {
    let lower = text.to_ascii_lowercase();
    let (digits, exponent) = match lower.split_once('e') {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (lower.as_str(), 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let integer = parse_integer(&format!("{whole}{fraction}"), 10)?;
    let scale = exponent.checked_sub(fraction.len() as i32)?;
    if scale.unsigned_abs() > MOST_DIGITS {
        return None;
    }
    let power = BigInt::from(10).pow(scale.unsigned_abs());
    Some(Ratio(match scale < 0 {
        true => BigRational::new(integer.integer(), power),
        false => BigRational::from_integer(integer.integer() * power),
    }))
}
