//! larson: packets of blocks handed between threads, so that blocks die elsewhere than they were made.
//!
//! Twice as many packets as threads wait in one queue. A turn takes a packet, replaces blocks in 10,000 of its 4,096
//! slots (chosen at random) by zeroed pointer-free ones of 16 to 512 bytes, tagged in the first word, and
//! gives the packet back. `turns` turns in all, shared evenly between the packets. Each packet has a random stream of
//! its own, so that the result does not depend on who works on it.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{OrExhausted, Session};
use crate::host::Stopwatch;
use crate::random::{Digest, Random};
use crate::report::Outcome;
use mallocgc::raw::{AllocFlags, Layout, Mutator, Root};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};

pub(super) const CASES: &[Case] = &[Case {
    name: "larson",
    about: "blocks of 16 to 512 bytes handed between threads",
    threads: Threads { default: 2, max: 64 },
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    set: Some(Set::Representative),
    peers: &Runtime::HEAP_PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("turns", 8)],
        Scale::Quick => &[("turns", 320)],
        Scale::Full => &[("turns", 3_200)],
    }
}

const PACKET_SLOTS: usize = 4096;
const TURN_REPLACEMENTS: u64 = 10_000;

/// Slots on the heap, and what belongs to them.
struct Packet {
    /// An array of references to blocks.
    slots: Root,
    random: Random,
    number: u32,
    sum: u64,
    turns_left: u64,
}

impl Packet {
    fn slot(&self, index: usize) -> *mut *mut u64 {
        assert!(index < PACKET_SLOTS);
        // SAFETY: the array has so many slots.
        unsafe { self.slots.get().as_ptr().cast::<*mut u64>().add(index) }
    }

    /// The first word of the block in a slot, 0 if there is none.
    fn tag(&self, slot: *mut *mut u64) -> u64 {
        // SAFETY: the slot is one of the packet's, which are rooted, and so are the blocks.
        unsafe { slot.read().as_ref() }.copied().unwrap_or(0)
    }

    /// Replaces blocks of the packet by new ones of 16 to 512 bytes.
    fn turn(&mut self, mutator: &Mutator) {
        for _ in 0..TURN_REPLACEMENTS {
            let tag = self.random.next();
            let size = 16 + (((tag >> 32) * 497) >> 32);
            let block: *mut u64 =
                mutator.mallocgc(size as usize, Layout::NOSCAN, AllocFlags::NONE).or_exhausted();
            let slot = self.slot(tag as usize % PACKET_SLOTS);
            self.sum = self.sum.wrapping_add(self.tag(slot));
            // SAFETY: fresh, zeroed and at least a word.
            unsafe { *block += tag };
            // SAFETY: the slot is a reference of a live object.
            unsafe { mutator.write(slot.cast(), block.cast()) };
            mutator.poll();
        }
        self.turns_left -= 1;
    }
}

/// Hands packets from thread to thread.
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
    packets: usize,
}

struct QueueState {
    waiting: VecDeque<Packet>,
    done: Vec<Packet>,
}

impl Queue {
    /// Waits for a packet; none when all are done.
    fn take(&self) -> Option<Packet> {
        let mut state = self.state.lock().expect("no panic");
        while state.waiting.is_empty() && state.done.len() < self.packets {
            state = self.changed.wait(state).expect("no panic");
        }
        state.waiting.pop_front()
    }

    fn give_back(&self, packet: Packet) {
        let mut state = self.state.lock().expect("no panic");
        if packet.turns_left > 0 {
            state.waiting.push_back(packet);
        } else {
            state.done.push(packet);
        }
        drop(state);
        self.changed.notify_all();
    }
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let packets = 2 * run.threads;
    let turns = run.number("turns")? / u64::from(packets);
    let session = Session::new()?;
    let mut mutator = session.attach()?;
    let layout = session.references()?;
    let mut waiting = VecDeque::new();
    for number in 0..packets {
        let slots = mutator.new_array(layout, PACKET_SLOTS).map_err(RunError::failed("packet"))?;
        waiting.push_back(Packet {
            slots: session.heap.root(slots).map_err(RunError::failed("root"))?,
            random: Random::new(number.into()),
            number,
            sum: 0,
            turns_left: turns,
        });
    }
    let state = Mutex::new(QueueState { waiting, done: Vec::new() });
    let queue = Queue { state, changed: Condvar::new(), packets: packets as usize };

    let clock = Stopwatch::start();
    session.on_threads(&mut mutator, run.threads, |mutator, _| {
        // Waiting for a packet is no reason to keep the world from stopping.
        while let Some(mut packet) = mutator.blocking(|| queue.take()) {
            packet.turn(mutator);
            queue.give_back(packet);
        }
    });
    let nanos = clock.cpu_nanos() as f64;

    let mut done = queue.state.into_inner().expect("no panic").done;
    done.sort_by_key(|packet| packet.number);
    let mut check = Digest::new();
    for packet in &done {
        let blocks = (0..PACKET_SLOTS).map(|index| packet.tag(packet.slot(index)));
        check.add(blocks.fold(packet.sum, u64::wrapping_add));
    }
    let mut outcome = session.outcome(check.value());
    let replacements = turns * u64::from(packets) * TURN_REPLACEMENTS;
    outcome.metric("ns_per_replacement", nanos / replacements as f64);
    Ok(outcome)
}
