//! `equal?` and its hash, without recursion and for circular data.

use crate::value::Value;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Comparisons after which pairs of objects that are being compared are noted, as the data may be circular.
const PATIENCE: usize = 100_000;

/// Elements that a hash looks at.
const HASHED: usize = 64;

/// Whether two data look the same.
pub(crate) fn is_equal<'gc>(a: Value<'gc>, b: Value<'gc>) -> bool {
    let mut waiting = vec![(a, b)];
    let mut seen = HashSet::new();
    let mut compared = 0usize;
    while let Some((mut a, mut b)) = waiting.pop() {
        loop {
            if a.is_equivalent(b) {
                break;
            }
            compared += 1;
            if compared > PATIENCE
                && let (Some(left), Some(right)) = (a.address(), b.address())
                && !seen.insert((left, right))
            {
                break;
            }
            match (a, b) {
                (Value::Pair(left), Value::Pair(right)) => {
                    waiting.push((left.first.get(), right.first.get()));
                    (a, b) = (left.rest.get(), right.rest.get());
                    continue;
                }
                (Value::Vector(left), Value::Vector(right)) => {
                    if left.items.len() != right.items.len() {
                        return false;
                    }
                    let items = left.items.iter().zip(right.items.iter());
                    waiting.extend(items.map(|(a, b)| (a.get(), b.get())));
                    break;
                }
                (Value::Text(left), Value::Text(right)) => {
                    let (left, right) = (left.chars.get(), right.chars.get());
                    if left.iter().map(|c| c.get()).eq(right.iter().map(|c| c.get())) {
                        break;
                    }
                }
                (Value::Bytes(left), Value::Bytes(right))
                    if left
                        .items
                        .iter()
                        .map(|b| b.get())
                        .eq(right.items.iter().map(|b| b.get())) =>
                {
                    break;
                }
                _ => {}
            }
            return false;
        }
    }
    true
}

/// The same for data that are equal.
pub(crate) fn hash(value: Value<'_>, by_equal: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut waiting = vec![value];
    let mut left = HASHED;
    while let Some(value) = waiting.pop() {
        left = left.saturating_sub(1);
        if left == 0 {
            break;
        }
        match value {
            Value::Fixnum(n) => n.hash(&mut hasher),
            Value::Flonum(n) => n.hash(&mut hasher),
            Value::Char(c) => c.hash(&mut hasher),
            Value::Big(n) => n.0.hash(&mut hasher),
            Value::Ratio(n) => n.0.hash(&mut hasher),
            Value::Primitive(primitive) => std::ptr::hash(primitive, &mut hasher),
            Value::Text(text) if by_equal => {
                text.chars.get().iter().for_each(|c| c.get().hash(&mut hasher));
            }
            Value::Pair(pair) if by_equal => {
                waiting.push(pair.rest.get());
                waiting.push(pair.first.get());
            }
            Value::Vector(vector) if by_equal => {
                waiting.extend(vector.items.iter().take(HASHED).map(|item| item.get()));
            }
            Value::Bytes(bytes) if by_equal => {
                bytes.items.iter().take(HASHED).for_each(|b| b.get().hash(&mut hasher));
            }
            other => other.address().hash(&mut hasher),
        }
    }
    hasher.finish()
}
