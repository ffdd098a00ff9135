//! Packets of blocks handed between threads, so that blocks die elsewhere than they were made.

use crate::blob::{Blob, Block};
use crate::host::Stopwatch;
use crate::random::{Digest, Random};
use crate::support::{Outcome, Run};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};

const PACKET_SLOTS: usize = 4096;
const TURN_REPLACEMENTS: u64 = 10_000;

struct Packet {
    slots: Box<[Option<Block>]>,
    random: Random,
    number: usize,
    sum: u64,
    turns_left: u64,
}

impl Packet {
    /// Replaces blocks of the packet by new ones of 16 to 512 bytes.
    fn turn(&mut self) {
        for _ in 0..TURN_REPLACEMENTS {
            let tag = self.random.next();
            let size = 16 + (((tag >> 32) * 497) >> 32);
            let block = Block(Blob::block(size, tag));
            let slot = &mut self.slots[tag as usize % PACKET_SLOTS];
            if let Some(old) = slot {
                self.sum = self.sum.wrapping_add(old.0.tag());
            }
            *slot = Some(block);
        }
        self.turns_left -= 1;
    }
}

/// Hands packets from thread to thread.
struct Queue {
    state: Mutex<(VecDeque<Packet>, Vec<Packet>)>,
    changed: Condvar,
    packets: usize,
}

impl Queue {
    /// Waits for a packet; none when all are done.
    fn take(&self) -> Option<Packet> {
        let mut state = self.state.lock().expect("no panic");
        while state.0.is_empty() && state.1.len() < self.packets {
            state = self.changed.wait(state).expect("no panic");
        }
        state.0.pop_front()
    }

    fn give_back(&self, packet: Packet) {
        let mut state = self.state.lock().expect("no panic");
        if packet.turns_left > 0 {
            state.0.push_back(packet);
        } else {
            state.1.push(packet);
        }
        drop(state);
        self.changed.notify_all();
    }
}

pub fn run(run: &Run) -> Outcome {
    let packets = 2 * run.threads;
    let turns = run.number("turns") / packets as u64;
    let waiting = (0..packets)
        .map(|number| Packet {
            slots: std::iter::repeat_with(|| None).take(PACKET_SLOTS).collect(),
            random: Random::new(number as u64),
            number,
            sum: 0,
            turns_left: turns,
        })
        .collect();
    let queue =
        Queue { state: Mutex::new((waiting, Vec::new())), changed: Condvar::new(), packets };
    let watch = Stopwatch::start();
    std::thread::scope(|scope| {
        for _ in 0..run.threads {
            scope.spawn(|| {
                while let Some(mut packet) = queue.take() {
                    packet.turn();
                    queue.give_back(packet);
                }
            });
        }
    });
    let mut outcome = Outcome::default();
    let replacements = turns * packets as u64 * TURN_REPLACEMENTS;
    outcome.metric("ns_per_replacement", watch.cpu_nanos() as f64 / replacements as f64);
    let (_, mut done) = queue.state.into_inner().expect("no panic");
    done.sort_by_key(|packet| packet.number);
    let mut check = Digest::new();
    for packet in &done {
        let blocks = packet.slots.iter().flatten();
        check.add(blocks.fold(packet.sum, |sum, block| sum.wrapping_add(block.0.tag())));
    }
    outcome.check = check.value();
    outcome
}
