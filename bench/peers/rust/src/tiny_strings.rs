//! Strings of 1 to 15 bytes: freed at once, in a window, or held.

use crate::blob::{Blob, Text};
use crate::host::{Stopwatch, resident_bytes};
use crate::random::Random;
use crate::support::{Outcome, Run, fail};

const _: () = assert!(size_of::<Option<Text>>() == 8);

pub fn run(run: &Run) -> Outcome {
    match run.variant() {
        "garbage" => window(run, 64, |_, i| (i % 64) as usize),
        "churn" => {
            let window_size = run.number("window");
            window(run, window_size as usize, |places, _| places.below(window_size) as usize)
        }
        "hold" => hold(run),
        variant => fail(&format!("there is no variant {variant}")),
    }
}

fn empty_slots(count: usize) -> Vec<Option<Text>> {
    std::iter::repeat_with(|| None).take(count).collect()
}

fn window(run: &Run, size: usize, place: impl Fn(&mut Random, u64) -> usize) -> Outcome {
    let n = run.number("strings");
    let mut slots = empty_slots(size);
    let watch = Stopwatch::start();
    let (mut lengths, mut places) = (Random::new(1), Random::new(2));
    let mut sum = 0;
    for i in 0..n {
        let text = Text(Blob::string(1 + lengths.below(15), i));
        let slot = &mut slots[place(&mut places, i)];
        if let Some(old) = slot {
            sum += u64::from(old.0.first());
        }
        *slot = Some(text);
    }
    let mut outcome = Outcome::default();
    outcome.metric("ns_per_object", watch.cpu_nanos() as f64 / n as f64);
    outcome.check = sum + sum_strings(&slots);
    outcome
}

fn hold(run: &Run) -> Outcome {
    let n = run.number("strings");
    let mut slots = empty_slots(n as usize);
    let before = resident_bytes();
    let watch = Stopwatch::start();
    let mut lengths = Random::new(1);
    let mut payload = 0;
    for i in 0..n {
        let length = 1 + lengths.below(15);
        payload += length;
        slots[i as usize] = Some(Text(Blob::string(length, i)));
    }
    let mut outcome = Outcome::default();
    outcome.metric("ns_per_object", watch.cpu_nanos() as f64 / n as f64);
    let end = resident_bytes();
    outcome.resident_end_bytes = Some(end);
    outcome.metric("resident_bytes_per_payload_byte", (end - before) as f64 / payload as f64);
    outcome.check = sum_strings(&slots) + payload;
    outcome
}

fn sum_strings(slots: &[Option<Text>]) -> u64 {
    slots.iter().flatten().map(|text| u64::from(text.0.first())).sum()
}
