//! tiny-strings: pointer-free strings of 1 to 15 bytes, behind one reference each.
//!
//! *garbage*: `strings` of them through a ring of 64. *churn*: each replaces a random one of `window`. *hold*: all
//! are kept, and what matters is how much memory becomes resident per byte of payload while they are
//! made (their slots are touched before). The first and the last byte of a string are written; old strings'
//! first bytes add up to the check value.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{OrExhausted, Session};
use crate::host::{Stopwatch, resident_bytes};
use crate::random::Random;
use crate::report::Outcome;
use mallocgc::raw::{AllocFlags, Layout, Mutator};

const CASE: Case = Case {
    name: "tiny-strings/garbage",
    about: "strings of 1 to 15 bytes, garbage at once",
    threads: Threads::ONE,
    parameters: garbage,
    reads_input: false,
    measure: Measure::ProcessCpu,
    set: Some(Set::Representative),
    peers: &Runtime::HEAP_PEERS,
    run,
};

pub(super) const CASES: &[Case] = &[
    CASE,
    Case {
        name: "tiny-strings/churn",
        about: "strings of 1 to 15 bytes that replace each other at random",
        parameters: churn,
        set: None,
        ..CASE
    },
    Case {
        name: "tiny-strings/hold",
        about: "strings of 1 to 15 bytes that all stay: memory per byte",
        parameters: hold,
        measure: Measure::Metric("resident_bytes_per_payload_byte"),
        set: None,
        ..CASE
    },
];

fn garbage(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("strings", 10_000)],
        Scale::Quick => &[("strings", 20_000_000)],
        Scale::Full => &[("strings", 200_000_000)],
    }
}

fn churn(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("strings", 10_000), ("window", 1 << 10)],
        Scale::Quick => &[("strings", 4_000_000), ("window", 1 << 20)],
        Scale::Full => &[("strings", 40_000_000), ("window", 1 << 20)],
    }
}

fn hold(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("strings", 10_000)],
        Scale::Quick => &[("strings", 10_000_000)],
        Scale::Full => &[("strings", 40_000_000)],
    }
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let strings = run.number("strings")?;
    let session = Session::new()?;
    let mutator = &session.attach()?;
    match run.variant() {
        "garbage" => through_window(&session, mutator, strings, 64, |_, i| i % 64),
        "churn" => {
            let window = run.number("window")?;
            through_window(&session, mutator, strings, window, |places, _| places.below(window))
        }
        _ => hold_all(&session, mutator, strings),
    }
}

/// References to strings, on the root stack.
struct Slots<'m> {
    mutator: &'m Mutator,
    start: *mut *mut u8,
    count: u64,
}

impl<'m> Slots<'m> {
    fn new(session: &Session, mutator: &'m Mutator, count: u64) -> Result<Slots<'m>, RunError> {
        let layout = session.references()?;
        let array = mutator.new_array(layout, count as usize).map_err(RunError::failed("slots"))?;
        mutator.push_root(array);
        Ok(Slots { mutator, start: array.as_ptr().cast(), count })
    }

    /// The first byte of the string in a slot, 0 if there is none.
    #[inline(always)]
    fn first_byte(&self, place: u64) -> u64 {
        debug_assert!(place < self.count);
        // SAFETY: the array is rooted and has this slot.
        let text = unsafe { self.start.add(place as usize).read() };
        // SAFETY: strings in slots are alive.
        if text.is_null() { 0 } else { u64::from(unsafe { text.read() }) }
    }

    #[inline(always)]
    fn set(&self, place: u64, text: *mut u8) {
        debug_assert!(place < self.count);
        // SAFETY: as above, and the slot is a reference.
        unsafe { self.mutator.write(self.start.add(place as usize), text) };
    }

    fn sum(&self) -> u64 {
        (0..self.count).map(|place| self.first_byte(place)).sum()
    }
}

/// A string of `length` bytes with number i in it.
#[inline(always)]
fn new_string(mutator: &Mutator, length: u64, i: u64) -> *mut u8 {
    let text: *mut u8 =
        mutator.mallocgc(length as usize, Layout::NOSCAN, AllocFlags::NONE).or_exhausted();
    // SAFETY: the string has `length` bytes, at least one.
    unsafe { text.add(length as usize - 1).write((i >> 8) as u8) };
    // SAFETY: as above.
    unsafe { text.write(i as u8) };
    text
}

fn through_window(
    session: &Session,
    mutator: &Mutator,
    strings: u64,
    window: u64,
    place: impl Fn(&mut Random, u64) -> u64,
) -> Result<Outcome, RunError> {
    let slots = Slots::new(session, mutator, window)?;
    let clock = Stopwatch::start();
    let (mut lengths, mut places) = (Random::new(1), Random::new(2));
    let mut sum = 0;
    for i in 0..strings {
        let text = new_string(mutator, 1 + lengths.below(15), i);
        let place = place(&mut places, i);
        sum += slots.first_byte(place);
        slots.set(place, text);
        mutator.poll();
    }
    let nanos = clock.cpu_nanos() as f64 / strings as f64;
    let mut outcome = session.outcome(sum + slots.sum());
    outcome.metric("ns_per_object", nanos);
    Ok(outcome)
}

fn hold_all(session: &Session, mutator: &Mutator, strings: u64) -> Result<Outcome, RunError> {
    let slots = Slots::new(session, mutator, strings)?;
    for place in 0..strings {
        slots.set(place, std::ptr::null_mut());
    }
    let before = resident_bytes();
    let clock = Stopwatch::start();
    let mut lengths = Random::new(1);
    let mut payload = 0;
    for i in 0..strings {
        let length = 1 + lengths.below(15);
        payload += length;
        slots.set(i, new_string(mutator, length, i));
        mutator.poll();
    }
    let nanos = clock.cpu_nanos() as f64 / strings as f64;
    let end = resident_bytes();
    let mut outcome = session.outcome(slots.sum() + payload);
    outcome.resident_end_bytes = Some(end);
    outcome.metric("ns_per_object", nanos);
    outcome.metric(
        "resident_bytes_per_payload_byte",
        end.saturating_sub(before) as f64 / payload as f64,
    );
    Ok(outcome)
}
