//! lru-server: a cache with a hash table and a list by age, serving requests.
//!
//! `entries` entries of 48 bytes with values of 256 to 760 bytes; `requests` requests for random keys, of
//! which about a quarter miss and replace the oldest entry. A response is six parts of 32 bytes
//! with a text of 16 to 72 bytes each, copied from the value, read once and dropped. Service times are
//! measured request by request; the open-loop figures are what they would make of requests that arrive
//! every 4 and every 10 microseconds at a single server.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{Session, set};
use crate::host::Stopwatch;
use crate::latency::{Histogram, OpenLoop};
use crate::random::{Digest, Random};
use crate::report::Outcome;
use mallocgc::raw::{AllocClass, AllocError, AllocFlags, Layout, Mutator, TypeLayout};
use std::ptr::null_mut;

pub(super) const CASES: &[Case] = &[Case {
    name: "lru-server",
    about: "an LRU cache serving requests, most of whose objects die at once",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    set: Some(Set::Representative),
    peers: &Runtime::HEAP_PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("entries", 1_000), ("requests", 5_000)],
        Scale::Quick => &[("entries", 100_000), ("requests", 500_000)],
        Scale::Full => &[("entries", 800_000), ("requests", 2_000_000)],
    }
}

/// One cached value. References first.
#[repr(C)]
struct Entry {
    chain: *mut Entry,
    prev: *mut Entry,
    next: *mut Entry,
    value: *mut u64,
    key: u64,
    words: u64,
}

/// One part of a response. References first.
#[repr(C)]
struct Part {
    next: *mut Part,
    text: *mut u64,
    offset: u64,
    words: u64,
}

const _: () = assert!(size_of::<Entry>() == 48 && size_of::<Part>() == 32);

/// The cache.
///
/// # Invariants
///
/// 1. `buckets` is an object with `mask + 1` references, kept by a root as long as the cache is used.
/// 2. All entries are reached from it, and each once from `head` by `next` and from `tail` by `prev`;
///    `value` of an entry has `words` words.
struct Cache<'m> {
    mutator: &'m Mutator,
    entry: AllocClass,
    part: AllocClass,
    buckets: *mut *mut Entry,
    mask: u64,
    head: *mut Entry,
    tail: *mut Entry,
    count: u64,
    most: u64,
}

fn hash_of(key: u64) -> u64 {
    Random::new(key).next()
}

// SAFETY of all unsafe blocks without a comment of their own: by the invariants of `Cache`, objects
// met are alive, and between two polls nothing dies.
impl Cache<'_> {
    fn bucket(&self, hash: u64) -> *mut *mut Entry {
        // SAFETY: invariant 1.
        unsafe { self.buckets.add(((hash >> 32) & self.mask) as usize) }
    }

    fn unlink(&mut self, e: *mut Entry) {
        // SAFETY: invariant 2.
        unsafe {
            let (prev, next) = ((*e).prev, (*e).next);
            if prev.is_null() {
                self.head = next;
            } else {
                set(self.mutator, &raw mut (*prev).next, next);
            }
            if next.is_null() {
                self.tail = prev;
            } else {
                set(self.mutator, &raw mut (*next).prev, prev);
            }
        }
    }

    fn push_front(&mut self, e: *mut Entry) {
        // SAFETY: invariant 2.
        unsafe {
            set(self.mutator, &raw mut (*e).prev, null_mut());
            set(self.mutator, &raw mut (*e).next, self.head);
            if self.head.is_null() {
                self.tail = e;
            } else {
                set(self.mutator, &raw mut (*self.head).prev, e);
            }
        }
        self.head = e;
    }

    fn find(&self, key: u64, hash: u64) -> *mut Entry {
        // SAFETY: invariant 2.
        unsafe {
            let mut e = *self.bucket(hash);
            while !e.is_null() && (*e).key != key {
                e = (*e).chain;
            }
            e
        }
    }

    fn evict(&mut self) {
        let e = self.tail;
        self.unlink(e);
        // SAFETY: invariant 2.
        unsafe {
            let mut link = self.bucket(hash_of((*e).key));
            while *link != e {
                link = &raw mut (**link).chain;
            }
            set(self.mutator, link, (*e).chain);
        }
        self.count -= 1;
    }

    fn insert(&mut self, key: u64, hash: u64) -> Result<*mut Entry, AllocError> {
        if self.count == self.most {
            self.evict();
        }
        let words = 32 + (hash & 63);
        let value = self.mutator.raw_mem(words as usize * 8)?.cast::<u64>().as_ptr();
        let e = self.mutator.alloc(self.entry)?.cast::<Entry>().as_ptr();
        // SAFETY: both are new and as large as written.
        unsafe {
            for i in 0..words {
                value.add(i as usize).write(hash.wrapping_add(i));
            }
            set(self.mutator, &raw mut (*e).value, value);
            (*e).key = key;
            (*e).words = words;
            let bucket = self.bucket(hash);
            set(self.mutator, &raw mut (*e).chain, *bucket);
            set(self.mutator, bucket, e);
        }
        self.push_front(e);
        self.count += 1;
        Ok(e)
    }

    /// Six parts with six texts copied from the value, built from the last one.
    fn respond(&self, e: *mut Entry, seed: u64) -> Result<*mut Part, AllocError> {
        let mut first = null_mut();
        for i in (0..6).rev() {
            let words = 2 + ((seed >> (4 * i)) & 7);
            let offset = (seed >> (24 + 4 * i)) & 15;
            let text =
                self.mutator.mallocgc(words as usize * 8, Layout::NOSCAN, AllocFlags::NONE)?;
            let text = text.cast::<u64>().as_ptr();
            let part = self.mutator.alloc(self.part)?.cast::<Part>().as_ptr();
            // SAFETY: a value has at least 32 words; text and part are new.
            unsafe {
                text.copy_from_nonoverlapping((*e).value.add(offset as usize), words as usize);
                set(self.mutator, &raw mut (*part).next, first);
                set(self.mutator, &raw mut (*part).text, text);
                (*part).offset = offset;
                (*part).words = words;
            }
            first = part;
        }
        Ok(first)
    }

    fn serve(&mut self, key: u64, seed: u64, hits: &mut u64) -> Result<u64, AllocError> {
        let hash = hash_of(key);
        let mut e = self.find(key, hash);
        if e.is_null() {
            e = self.insert(key, hash)?;
        } else {
            self.unlink(e);
            self.push_front(e);
            *hits += 1;
        }
        let mut answer = 0u64;
        let mut part = self.respond(e, seed)?;
        while !part.is_null() {
            // SAFETY: made by `respond`, since the last poll.
            unsafe {
                for word in std::slice::from_raw_parts((*part).text, (*part).words as usize) {
                    answer = answer.wrapping_mul(31).wrapping_add(*word);
                }
                answer = answer.wrapping_add((*part).offset);
                part = (*part).next;
            }
        }
        Ok(answer)
    }
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let (entries, requests) = (run.number("entries")?, run.number("requests")?);
    let session = Session::concurrent()?;
    let mutator = session.attach()?;
    let references = session.references()?;
    let buckets = entries.next_power_of_two();
    let table = mutator.new_array(references, buckets as usize)?;
    mutator.push_root(table);
    let mut cache = Cache {
        mutator: &mutator,
        entry: mutator.alloc_class(48, session.layout(&TypeLayout::mask(6, 0b1111))?)?,
        part: mutator.alloc_class(32, session.layout(&TypeLayout::mask(4, 0b11))?)?,
        buckets: table.cast().as_ptr(),
        mask: buckets - 1,
        head: null_mut(),
        tail: null_mut(),
        count: 0,
        most: entries,
    };
    for key in 0..entries {
        cache.insert(key, hash_of(key))?;
        mutator.poll();
    }
    let mut check = Digest::new();
    let mut random = Random::new(6);
    let mut service = Histogram::new();
    let mut queues = [("open_4us", OpenLoop::new(4_000)), ("open_10us", OpenLoop::new(10_000))];
    let mut hits = 0;
    let clock = Stopwatch::start();
    let mut last = 0;
    for _ in 0..requests {
        let key = random.below(entries + entries / 3);
        let seed = random.next();
        check.add(cache.serve(key, seed, &mut hits)?);
        mutator.poll();
        let now = clock.wall_nanos();
        service.add(now - last);
        for (_, queue) in &mut queues {
            queue.add(now - last);
        }
        last = now;
    }
    let request_cpu_nanos = clock.cpu_nanos() as f64 / requests as f64;
    check.add(hits);
    let mut e = cache.head;
    while !e.is_null() {
        // SAFETY: invariant 2 of `Cache`.
        unsafe {
            check.add((*e).key);
            e = (*e).next;
        }
    }
    let mut outcome = session.outcome(check.value());
    outcome.metric("request_cpu_nanos", request_cpu_nanos);
    outcome.metric("service_p50_nanos", service.quantile(500_000));
    outcome.metric("service_p99_nanos", service.quantile(990_000));
    outcome.metric("service_p999_nanos", service.quantile(999_000));
    outcome.metric("service_max_nanos", service.max());
    for (name, queue) in &queues {
        outcome.metric(format!("{name}_p99_nanos"), queue.latency().quantile(990_000));
        outcome.metric(format!("{name}_max_nanos"), queue.latency().max());
    }
    Ok(outcome)
}
