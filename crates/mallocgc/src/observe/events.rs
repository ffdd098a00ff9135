//! The stream of events: every allocation, every free, every cycle, every mutator.
//!
//! A program that wants to know exactly what happens gives its heap a
//! [`Listener`]. The heap then takes the slow path for each object, captures
//! the stack, and tells: an allocation before the address is returned, a free
//! before the cell can be handed out again. So an address names one object from
//! its `Alloc` to its `Free`, and the two balance; [`LiveObjects`] checks it.
//! Zero-size objects and tiny values that found room in an open block make no
//! events, as in the origin; the block makes its own.
//!
//! Frees are told at the end of marking, with the world stopped, by who collects. A listener is called
//! on several threads at once, while the world runs or stands. It must not enter a heap: allocation, attaching and collection
//! answer it with an error of their own instead of waiting for themselves
//! (`world::callback`); only a mutator of another heap gives what it has at hand. A listener that panics is contained and counted.
//!
//! Protection: the listener is behind a lock (rank `Observe`) that is held for
//! copying it only, never while it runs.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::base::Address;
use crate::base::sync::{AtomicBool, AtomicU64, Lock, Ordering::Relaxed, Rank};
use crate::layout::LayoutId;
use crate::world::callback;

use super::cycle_record::CycleRecord;
use super::symbol::Symbols;

/// Something that happened in a heap.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An object was allocated.
    Alloc {
        /// Its first byte: what the allocation returns.
        address: Address,
        /// Bytes from there to the end of its cell.
        size: usize,
        /// Where its references are.
        layout: LayoutId,
        /// Return addresses of the allocating thread, innermost first.
        stack: &'a [usize],
    },
    /// An object was found dead.
    Free {
        /// Its first byte, as its `Alloc` told.
        address: Address,
        /// Bytes from there to the end of its cell.
        size: usize,
    },
    /// A cycle began; mutators still run. `CycleEnd` or `CyclePutOff` follows.
    CycleBegin {
        /// Its number.
        number: u64,
    },
    /// A cycle that had begun was given up, because a mutator reached no
    /// boundary in time; the next one has its number.
    CyclePutOff {
        /// Its number.
        number: u64,
    },
    /// A cycle ended: the world runs again, sweeping has begun.
    CycleEnd(&'a CycleRecord),
    /// A mutator was attached: by its thread, which the listener is called on.
    Attached {
        /// How many there are now.
        mutators: u64,
    },
    /// A mutator is about to be detached, by its thread. Not told of one that goes inside a callback.
    Detached {
        /// How many there will be.
        mutators: u64,
    },
}

/// A function told of events, on any thread.
pub type Listener = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// What a listener is told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Everything.
    All,
    /// Objects and cycles, and not mutators.
    Objects,
    /// Cycles and mutators, and not objects: which costs allocation nothing.
    Cycles,
}

impl Interest {
    fn includes(self, event: &Event<'_>) -> bool {
        match event {
            Event::Alloc { .. } | Event::Free { .. } => self != Interest::Cycles,
            Event::Attached { .. } | Event::Detached { .. } => self != Interest::Objects,
            _ => true,
        }
    }
}

/// Where a heap sends its events: to one listener, or nowhere.
///
/// ```
/// use std::sync::Arc;
/// use mallocgc::observe::{Event, EventSink, LiveObjects};
///
/// let sink = EventSink::new();
/// assert!(!sink.is_on());
/// let live = Arc::new(LiveObjects::new());
/// sink.set(Some(live.listener()));
/// sink.send(&Event::CycleBegin { number: 1 });
/// assert_eq!(live.check(), Ok(0)); // nothing lives, nothing is out of balance
/// ```
pub struct EventSink {
    on: AtomicBool,
    /// Whether objects are told of as well.
    objects: AtomicBool,
    panics: AtomicU64,
    listener: Lock<Option<(Listener, Interest)>>,
}

impl EventSink {
    /// A sink that sends nowhere.
    pub fn new() -> EventSink {
        EventSink {
            on: AtomicBool::new(false),
            objects: AtomicBool::new(false),
            panics: AtomicU64::new(0),
            listener: Lock::new(Rank::Observe, None),
        }
    }

    /// Sends objects and cycles to `listener` from now on, and returns the one before. Events under
    /// way on other threads may still reach the old one.
    pub fn set(&self, listener: Option<Listener>) -> Option<Listener> {
        self.set_for(Interest::Objects, listener)
    }

    /// As [`set`](EventSink::set), for a listener that is told of these events.
    pub fn set_for(&self, interest: Interest, listener: Option<Listener>) -> Option<Listener> {
        let mut current = self.listener.lock();
        // Relaxed, both: filters; `send` looks under the lock.
        self.on.store(listener.is_some(), Relaxed);
        self.objects.store(listener.is_some() && interest != Interest::Cycles, Relaxed);
        let listener = listener.map(|listener| (listener, interest));
        core::mem::replace(&mut *current, listener).map(|(before, _)| before)
    }

    /// Whether anybody listens to allocations and deaths: one relaxed load, as
    /// [`is_on`](EventSink::is_on).
    #[inline]
    pub fn tells_objects(&self) -> bool {
        self.objects.load(Relaxed) // Relaxed: as in `set_for`.
    }

    /// Whether anybody listens: one relaxed load, to be asked before an event is made.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed) // Relaxed: as in `set`.
    }

    /// Calls the listener, if there is one. The caller holds no lock; what the
    /// listener asks of a heap meanwhile is refused.
    pub fn send(&self, event: &Event<'_>) {
        if !self.is_on() {
            return;
        }
        // The guard ends with this statement, before the listener runs.
        let listener = self.listener.lock().clone();
        let Some((listener, interest)) = listener else { return };
        if !interest.includes(event) {
            return;
        }
        let inside = callback::enter();
        let result = catch_unwind(AssertUnwindSafe(|| listener(event)));
        drop(inside);
        if result.is_err() {
            self.panics.fetch_add(1, Relaxed); // Relaxed: a statistic.
        }
    }

    /// Events whose listener panicked.
    pub fn panics(&self) -> u64 {
        self.panics.load(Relaxed) // Relaxed: a statistic.
    }
}

impl Default for EventSink {
    fn default() -> EventSink {
        EventSink::new()
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}

/// Writes each event as text: the origin's `allocfreetrace`.
///
/// ```text
/// alloc 0x7f2c00010040 32 bytes layout 5
///         parser::node at src/parser.rs:81
///         parser::main at src/main.rs:14
/// free 0x7f2c00010040 32 bytes
/// gc 3 begins
/// gc 3 @0.102s 2%: …
/// gc 4 begins
/// gc 4 put off
/// ```
///
/// With the feature `profile` stacks have names, and begin with the function
/// that asked for memory; without it they are addresses.
///
/// ```
/// use mallocgc::observe::{EventPrinter, EventSink};
///
/// let sink = EventSink::new();
/// sink.set(Some(EventPrinter::new(std::io::stderr()).into_listener()));
/// ```
pub struct EventPrinter<W> {
    /// Held while an event is written, so that events do not mix. No heap lock
    /// is taken meanwhile, nor is one held by the caller: any rank would do.
    state: std::sync::Mutex<PrinterState<W>>,
}

struct PrinterState<W> {
    out: W,
    symbols: Symbols,
    /// Each event is written with one call.
    text: String,
}

impl<W: io::Write + Send + 'static> EventPrinter<W> {
    /// A printer that writes to `out`; errors of writing are ignored, since an
    /// allocation is no place to report them.
    pub fn new(out: W) -> EventPrinter<W> {
        let state = PrinterState { out, symbols: Symbols::new(), text: String::new() };
        EventPrinter { state: std::sync::Mutex::new(state) }
    }

    /// Writes one event.
    pub fn print(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let PrinterState { out, symbols, text } = &mut *state;
        text.clear();
        // A `String` takes everything.
        let _ = format_event(event, symbols, text);
        let _ = out.write_all(text.as_bytes());
    }

    /// This printer as the listener of a heap.
    pub fn into_listener(self) -> Listener {
        Arc::new(move |event| self.print(event))
    }
}

impl<W> fmt::Debug for EventPrinter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventPrinter")
    }
}

fn format_event(event: &Event<'_>, symbols: &mut Symbols, text: &mut String) -> fmt::Result {
    match *event {
        Event::Alloc { address, size, layout, stack } => {
            writeln!(text, "alloc {address:?} {size} bytes layout {}", layout.0)?;
            let (frames, mut functions) = symbols.own_frames(stack);
            for &return_address in &stack[frames..] {
                let known = symbols.of(return_address);
                if known.is_empty() {
                    writeln!(text, "        {return_address:#x}")?;
                }
                for symbol in &known[functions..] {
                    writeln!(text, "        {symbol}")?;
                }
                functions = 0;
            }
            Ok(())
        }
        Event::Free { address, size } => writeln!(text, "free {address:?} {size} bytes"),
        Event::CycleBegin { number } => writeln!(text, "gc {number} begins"),
        Event::CyclePutOff { number } => writeln!(text, "gc {number} put off"),
        Event::CycleEnd(record) => writeln!(text, "{}", record.trace_line()),
        Event::Attached { mutators } => writeln!(text, "attached, {mutators} mutators"),
        Event::Detached { mutators } => writeln!(text, "detached, {mutators} mutators"),
    }
}

/// Keeps account of the objects between their `Alloc` and their `Free`: what
/// lives by the events, and whether they balance.
///
/// For tests and for hunting leaks; takes memory of the ordinary allocator for
/// each live object.
#[derive(Debug, Default)]
pub struct LiveObjects {
    /// As in [`EventPrinter`], below every rank.
    state: std::sync::Mutex<LiveState>,
}

#[derive(Debug, Default)]
struct LiveState {
    sizes: BTreeMap<Address, usize>,
    by_layout: HashMap<LayoutId, u64>,
    allocs: u64,
    frees: u64,
    first_fault: Option<Imbalance>,
}

/// Why events do not balance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Imbalance {
    /// An object was allocated where another one lives.
    Overlap {
        /// The new object.
        address: Address,
        /// The one that lives there.
        lives: Address,
    },
    /// Something was freed that was not allocated, or was freed before.
    NotAllocated {
        /// What was freed.
        address: Address,
    },
    /// An object was freed with another size than it was allocated with.
    SizeDiffers {
        /// The object.
        address: Address,
        /// Bytes told by its `Alloc`.
        allocated: usize,
        /// Bytes told by its `Free`.
        freed: usize,
    },
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Imbalance::Overlap { address, lives } => {
                write!(f, "{address:?} was allocated where {lives:?} lives")
            }
            Imbalance::NotAllocated { address } => {
                write!(f, "{address:?} was freed but does not live")
            }
            Imbalance::SizeDiffers { address, allocated, freed } => {
                write!(f, "{address:?} was allocated with {allocated} bytes, freed with {freed}")
            }
        }
    }
}

impl std::error::Error for Imbalance {}

impl LiveObjects {
    /// An account of a heap without objects.
    pub fn new() -> LiveObjects {
        LiveObjects::default()
    }

    /// This account as the listener of a heap.
    pub fn listener(self: &Arc<LiveObjects>) -> Listener {
        let live = Arc::clone(self);
        Arc::new(move |event| live.note(event))
    }

    /// Takes an event into account.
    pub fn note(&self, event: &Event<'_>) {
        let mut state = self.state();
        let result = match *event {
            Event::Alloc { address, size, layout, .. } => state.alloc(address, size, layout),
            Event::Free { address, size } => state.free(address, size),
            _ => Ok(()),
        };
        if let Err(fault) = result {
            state.first_fault.get_or_insert(fault);
        }
    }

    /// How many objects live by the events.
    ///
    /// # Errors
    ///
    /// The first event that did not fit those before it.
    pub fn check(&self) -> Result<usize, Imbalance> {
        let state = self.state();
        state.first_fault.map_or(Ok(state.sizes.len()), Err)
    }

    /// Whether an object at `address` lives by the events.
    pub fn contains(&self, address: Address) -> bool {
        self.state().sizes.contains_key(&address)
    }

    /// Bytes of the objects that live by the events.
    pub fn bytes(&self) -> usize {
        self.state().sizes.values().sum()
    }

    /// `Alloc` and `Free` events so far.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.allocs, state.frees)
    }

    /// `Alloc` events of a layout so far.
    pub fn allocs_of(&self, layout: LayoutId) -> u64 {
        self.state().by_layout.get(&layout).copied().unwrap_or(0)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, LiveState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl LiveState {
    fn alloc(&mut self, address: Address, size: usize, layout: LayoutId) -> Result<(), Imbalance> {
        self.allocs += 1;
        *self.by_layout.entry(layout).or_default() += 1;
        // The last object that begins before the new one ends is the only one
        // that can reach into it.
        if let Some((&lives, &bytes)) = self.sizes.range(..address.add(size)).next_back()
            && lives.add(bytes) > address
        {
            return Err(Imbalance::Overlap { address, lives });
        }
        self.sizes.insert(address, size);
        Ok(())
    }

    fn free(&mut self, address: Address, freed: usize) -> Result<(), Imbalance> {
        self.frees += 1;
        match self.sizes.remove(&address) {
            None => Err(Imbalance::NotAllocated { address }),
            Some(allocated) if allocated != freed => {
                Err(Imbalance::SizeDiffers { address, allocated, freed })
            }
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use std::sync::Mutex;

    fn alloc(address: usize, size: usize) -> Event<'static> {
        Event::Alloc { address: Address::new(address), size, layout: LayoutId::NOSCAN, stack: &[] }
    }

    fn free(address: usize, size: usize) -> Event<'static> {
        Event::Free { address: Address::new(address), size }
    }

    #[test]
    fn a_synthetic_stream_balances() {
        let (sink, live) = (EventSink::new(), Arc::new(LiveObjects::new()));
        sink.set(Some(live.listener()));
        let mut random = Random::new(5);
        // Cells of 64 bytes; what lives is told by the model.
        let mut model = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            let address = 0x10_0000 + 64 * random.below(500) as usize;
            if model.remove(&address) {
                sink.send(&free(address, 64));
            } else {
                model.insert(address);
                sink.send(&alloc(address, 64));
            }
            assert_eq!(live.check(), Ok(model.len()));
        }
        assert!(model.iter().all(|&address| live.contains(Address::new(address))));
        assert_eq!(live.bytes(), 64 * model.len());
        let (allocs, frees) = live.counts();
        assert_eq!(allocs - frees, model.len() as u64);
        assert_eq!(live.allocs_of(LayoutId::NOSCAN), allocs);
    }

    #[test]
    fn each_imbalance_is_found_and_the_first_one_kept() {
        let at = Address::new;
        let faults: [(&[Event<'_>], Imbalance); 6] = [
            (
                &[alloc(0x1000, 16), alloc(0x1000, 16)],
                Imbalance::Overlap { address: at(0x1000), lives: at(0x1000) },
            ),
            (
                &[alloc(0x1000, 16), alloc(0x100f, 1)],
                Imbalance::Overlap { address: at(0x100f), lives: at(0x1000) },
            ),
            (
                &[alloc(0x1008, 8), alloc(0x1000, 16)],
                Imbalance::Overlap { address: at(0x1000), lives: at(0x1008) },
            ),
            (&[free(0x1000, 16)], Imbalance::NotAllocated { address: at(0x1000) }),
            (
                &[alloc(0x1000, 16), free(0x1000, 16), free(0x1000, 16), free(0x2000, 8)],
                Imbalance::NotAllocated { address: at(0x1000) },
            ),
            (
                &[alloc(0x1000, 16), free(0x1000, 32)],
                Imbalance::SizeDiffers { address: at(0x1000), allocated: 16, freed: 32 },
            ),
        ];
        for (events, fault) in faults {
            let live = LiveObjects::new();
            events.iter().for_each(|event| live.note(event));
            assert_eq!(live.check(), Err(fault), "{fault}");
        }
    }

    #[test]
    fn a_listener_is_inside_a_callback_and_its_panics_are_contained() {
        let sink = Arc::new(EventSink::new());
        let seen = Arc::new(AtomicU64::new(0));
        let listener: Listener = {
            let (sink, seen) = (Arc::clone(&sink), Arc::clone(&seen));
            Arc::new(move |event| {
                assert!(callback::is_inside(), "the heap refuses what is asked from here");
                seen.fetch_add(1, Relaxed);
                // No lock is held: the listener may even replace itself.
                if let Event::CycleBegin { number: 2 } = event {
                    sink.set(None);
                    panic!("a listener that fails");
                }
            })
        };
        sink.set(Some(listener));
        for number in 1..=3 {
            sink.send(&Event::CycleBegin { number });
            assert!(!callback::is_inside());
        }
        assert_eq!(seen.load(Relaxed), 2, "the third had no listener");
        assert_eq!(sink.panics(), 1);
        assert!(!sink.is_on());
    }

    #[test]
    fn threads_send_side_by_side() {
        let (sink, live) = (EventSink::new(), Arc::new(LiveObjects::new()));
        sink.set(Some(live.listener()));
        std::thread::scope(|scope| {
            for thread in 1..=4usize {
                let sink = &sink;
                scope.spawn(move || {
                    for number in 0..1000 {
                        sink.send(&alloc(thread << 20 | number << 4, 16));
                        if number % 2 == 0 {
                            sink.send(&free(thread << 20 | number << 4, 16));
                        }
                    }
                });
            }
        });
        assert_eq!(live.check(), Ok(2000));
    }

    /// A writer whose text can be read afterwards.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panics").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[inline(never)]
    fn allocates(sink: &EventSink) {
        let mut frames = [0; 8];
        let depth = crate::os::backtrace::capture(&mut frames, 0);
        let stack = &frames[..depth];
        let layout = LayoutId(5);
        sink.send(&Event::Alloc { address: Address::new(0x7f40), size: 32, layout, stack });
    }

    #[test]
    fn the_printer_writes_events_with_backtraces() {
        let (sink, out) = (EventSink::new(), Shared::default());
        sink.set(Some(EventPrinter::new(out.clone()).into_listener()));
        allocates(&sink);
        sink.send(&free(0x7f40, 32));
        sink.send(&Event::CycleBegin { number: 3 });
        sink.send(&Event::CycleEnd(&CycleRecord { number: 3, ..CycleRecord::default() }));
        let bytes = out.0.lock().expect("no writer panics").clone();
        let text = String::from_utf8(bytes).expect("events are text");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("alloc 0x7f40 32 bytes layout 5"));
        let frame = lines.next().expect("a stack");
        if cfg!(feature = "profile") {
            assert!(frame.contains("events::tests::allocates at "), "{text}");
        } else {
            assert!(frame.starts_with("        0x"), "{text}");
        }
        let mut lines = lines.skip_while(|line| line.starts_with("        "));
        assert_eq!(lines.next(), Some("free 0x7f40 32 bytes"));
        assert_eq!(lines.next(), Some("gc 3 begins"));
        assert!(lines.next().is_some_and(|line| line.starts_with("gc 3 @0.000s")), "{text}");
        assert_eq!(lines.next(), None);
    }
}
