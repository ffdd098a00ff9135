//! lru-server with explicit freeing: entries are linked by raw pointers and owned by the cache.

use crate::host::process_cpu_nanos;
use crate::latency::{Histogram, OpenLoop};
use crate::random::{Digest, Random};
use crate::support::{Outcome, Run};
use std::ptr::null_mut;
use std::time::Instant;

struct Entry {
    chain: *mut Entry,
    prev: *mut Entry,
    next: *mut Entry,
    value: Box<[u64]>,
    key: u64,
}

struct Part {
    next: Option<Box<Part>>,
    text: Box<[u64]>,
    offset: u64,
}

const _: () = assert!(size_of::<Entry>() == 48 && size_of::<Part>() == 32);

/// All entries are reached from `buckets`, and each once from `head` by `next` and from `tail` by `prev`.
/// They are made and freed by `insert` and `evict` alone: so every pointer met on the way is good.
struct Cache {
    buckets: Box<[*mut Entry]>,
    head: *mut Entry,
    tail: *mut Entry,
    count: u64,
    most: u64,
}

fn hash_of(key: u64) -> u64 {
    Random::new(key).next()
}

impl Cache {
    fn bucket(&mut self, hash: u64) -> &mut *mut Entry {
        let mask = self.buckets.len() - 1;
        &mut self.buckets[(hash >> 32) as usize & mask]
    }

    fn unlink(&mut self, e: *mut Entry) {
        // SAFETY: entries of the list are good (see `Cache`).
        unsafe {
            let (prev, next) = ((*e).prev, (*e).next);
            *(if prev.is_null() { &mut self.head } else { &mut (*prev).next }) = next;
            *(if next.is_null() { &mut self.tail } else { &mut (*next).prev }) = prev;
        }
    }

    fn push_front(&mut self, e: *mut Entry) {
        // SAFETY: entries of the list are good (see `Cache`).
        unsafe {
            (*e).prev = null_mut();
            (*e).next = self.head;
            *(if self.head.is_null() { &mut self.tail } else { &mut (*self.head).prev }) = e;
            self.head = e;
        }
    }

    fn find(&mut self, key: u64, hash: u64) -> *mut Entry {
        let mut e = *self.bucket(hash);
        // SAFETY: entries of a chain are good (see `Cache`).
        unsafe {
            while !e.is_null() && (*e).key != key {
                e = (*e).chain;
            }
        }
        e
    }

    fn evict(&mut self) {
        let e = self.tail;
        self.unlink(e);
        // SAFETY: entries of a chain are good; `e` leaves list and chain before it is freed.
        unsafe {
            let mut link: *mut *mut Entry = self.bucket(hash_of((*e).key));
            while *link != e {
                link = &mut (**link).chain;
            }
            *link = (*e).chain;
            drop(Box::from_raw(e));
        }
        self.count -= 1;
    }

    fn insert(&mut self, key: u64, hash: u64) -> *mut Entry {
        if self.count == self.most {
            self.evict();
        }
        let words = 32 + (hash & 63);
        let value = (0..words).map(|i| hash.wrapping_add(i)).collect();
        let bucket = self.bucket(hash);
        let entry = Entry { chain: *bucket, prev: null_mut(), next: null_mut(), value, key };
        let e = Box::into_raw(Box::new(entry));
        *bucket = e;
        self.push_front(e);
        self.count += 1;
        e
    }

    fn serve(&mut self, key: u64, seed: u64, hits: &mut u64) -> u64 {
        let hash = hash_of(key);
        let mut e = self.find(key, hash);
        if e.is_null() {
            e = self.insert(key, hash);
        } else {
            self.unlink(e);
            self.push_front(e);
            *hits += 1;
        }
        // SAFETY: the cache keeps `e` until the next insertion.
        let response = respond(unsafe { &(*e).value }, seed);
        let mut answer = 0u64;
        let mut part = response;
        while let Some(this) = part {
            for word in &this.text {
                answer = answer.wrapping_mul(31).wrapping_add(*word);
            }
            answer = answer.wrapping_add(this.offset);
            part = this.next;
        }
        answer
    }
}

/// Six parts with six texts copied from the value, built from the last one.
fn respond(value: &[u64], seed: u64) -> Option<Box<Part>> {
    let mut first = None;
    for i in (0..6).rev() {
        let count = 2 + ((seed >> (4 * i)) & 7);
        let offset = (seed >> (24 + 4 * i)) & 15;
        let text = value[offset as usize..(offset + count) as usize].into();
        first = Some(Box::new(Part { next: first, text, offset }));
    }
    first
}

pub fn run(run: &Run) -> Outcome {
    let (entries, requests) = (run.number("entries"), run.number("requests"));
    let buckets = entries.next_power_of_two() as usize;
    let mut cache = Cache {
        buckets: vec![null_mut(); buckets].into(),
        head: null_mut(),
        tail: null_mut(),
        count: 0,
        most: entries,
    };
    for key in 0..entries {
        cache.insert(key, hash_of(key));
    }
    let mut check = Digest::new();
    let mut random = Random::new(6);
    let mut service = Histogram::new();
    let mut queues = [OpenLoop::new(4_000), OpenLoop::new(10_000)];
    let mut hits = 0;
    let cpu = process_cpu_nanos();
    let begin = Instant::now();
    let mut last = 0;
    for _ in 0..requests {
        let key = random.below(entries + entries / 3);
        let seed = random.next();
        check.add(cache.serve(key, seed, &mut hits));
        let now = begin.elapsed().as_nanos() as u64;
        service.add(now - last);
        for queue in &mut queues {
            queue.add(now - last);
        }
        last = now;
    }
    let mut outcome = Outcome::default();
    outcome.metric("request_cpu_nanos", (process_cpu_nanos() - cpu) as f64 / requests as f64);
    check.add(hits);
    let mut e = cache.head;
    while !e.is_null() {
        // SAFETY: entries of the list are good (see `Cache`).
        let entry = unsafe { &*e };
        check.add(entry.key);
        e = entry.next;
    }
    outcome.metric("service_p50_nanos", service.quantile(500_000));
    outcome.metric("service_p99_nanos", service.quantile(990_000));
    outcome.metric("service_p999_nanos", service.quantile(999_000));
    outcome.metric("service_max_nanos", service.max());
    for (queue, name) in queues.iter().zip(["open_4us", "open_10us"]) {
        outcome.metric(format!("{name}_p99_nanos"), queue.latency().quantile(990_000));
        outcome.metric(format!("{name}_max_nanos"), queue.latency().max());
    }
    outcome.check = check.value();
    outcome
}
