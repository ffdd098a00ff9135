//! What the tests of the heap share: settings, a log that can be read, questions
//! about objects and about the process.
//!
//! With `MALLOCGC_ZEAL` set in the environment every heap made from [`config`]
//! collects at every third boundary, overwrites dead cells, and verifies itself
//! after each phase; continuous integration runs the suite a second time so.

#![allow(dead_code, reason = "every test program uses its own part of this")]

pub(crate) mod memory;
pub(crate) mod program;
pub(crate) mod specials;

use mallocgc::base::Address;
use mallocgc::raw::{Config, Heap, ObjectInfo};
use memory::Object;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Whether the suite runs in zeal mode.
pub(crate) fn zeal() -> bool {
    std::env::var_os("MALLOCGC_ZEAL").is_some()
}

/// How often a test repeats itself: `times`, far fewer in zeal mode, where every
/// third boundary looks at the whole heap.
pub(crate) fn scaled(times: usize) -> usize {
    if zeal() { times.div_ceil(20) } else { times }
}

/// What dead cells hold in zeal mode.
pub(crate) const CLOBBER: u64 = 0xdead_beef_dead_beef;

/// The settings tests start from.
pub(crate) fn config() -> Config {
    let config = Config {
        reserve_bytes: 8 << 30,
        // Tests share two processors with other tests: late is not stuck.
        stop_limit: Duration::from_secs(60),
        ..Config::default()
    };
    if zeal() {
        return Config { collect_every: 3, clobber: CLOBBER, verify: true, ..config };
    }
    config
}

/// Settings under which nothing is collected unless the test says so.
pub(crate) fn manual() -> Config {
    Config { gc_percent: None, collect_every: 0, ..config() }
}

/// A heap with these settings.
pub(crate) fn heap_with(config: Config) -> Heap {
    Heap::new(config).expect("a heap is made")
}

/// A heap that is collected only when the test says so.
pub(crate) fn heap() -> Heap {
    heap_with(manual())
}

/// What the heap knows of an object's address.
pub(crate) fn find(heap: &Heap, object: Object) -> Option<ObjectInfo> {
    find_at(heap, memory::number(object))
}

/// What the heap knows of an address.
pub(crate) fn find_at(heap: &Heap, address: usize) -> Option<ObjectInfo> {
    heap.find_object(Address::new(address))
}

/// Messages of a heap, kept.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// The settings with this log in place of standard error.
    pub(crate) fn of(&self, config: Config) -> Config {
        let lines = self.0.clone();
        let log =
            move |message: fmt::Arguments<'_>| lines.lock().unwrap().push(message.to_string());
        Config { log: Arc::new(log), ..config }
    }

    /// The messages so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
