//! What the heap keeps of a layout: its encoding, and its span classes.
//!
//! A layout gets a span class for a size the first time an object of that
//! size is allocated, but not at once: the first `MIXED_BYTES` bytes of a
//! layout go to mixed spans, which many rare layouts share at the price of a
//! header word an object.
//!
//! A program that is short enough is unrolled once, by the first of the threads
//! that allocate an object of it; a longer one is walked in place.
//!
//! Protection: records are written once and published by their number; the
//! class numbers in them are atomic, zero until the class exists; the mask of a
//! program is published through a [`OnceWord`].

use crate::base::once::{Claim, OnceWord};
use crate::base::size_class::{SIZE_CLASSES, SizeClass};
use crate::base::sync::{AtomicU16, AtomicUsize, Ordering};
use crate::base::{Address, WORD_SIZE};
use crate::heap::error::AllocError;
use crate::heap::meta::MetaStat;
use crate::heap::object_claim::CLAIMED_BYTES_MIN;
use crate::heap::space::Space;
use crate::heap::span_class::{ClassInfo, Scan, SpanClassId};
use crate::layout::{Calls, Encoding, LayoutId, TraceFn, Tracer, TypeLayout};
use Ordering::{Acquire, Relaxed, Release};

/// The layout number of mixed spans; their objects name their own.
pub(crate) const MIXED_LAYOUT: LayoutId = LayoutId(1);

/// Layout numbers are below this.
pub(crate) const LAYOUT_LIMIT: usize = 1 << 16;

/// Bytes of a layout's objects that share spans with other layouts'.
pub(crate) const MIXED_BYTES: usize = 16 << 10;

/// Largest object of a mixed span, without its header.
pub(crate) const MIXED_MAX: usize = 512;

/// What the heap keeps of a layout.
///
/// # Invariants
///
/// 1. `bits` are the encoding's stored bits, in memory that lives as long as
///    the heap.
/// 2. `unrolled`, once made, is the address of the stored bits of
///    `encoding.unrolled()`, in such memory too.
#[derive(Debug)]
pub struct LayoutRecord {
    id: LayoutId,
    encoding: Encoding,
    bits: &'static [u64],
    unrolled: OnceWord,
    /// Bytes allocated in mixed spans.
    mixed_bytes: AtomicUsize,
    /// Span class by size class; zero for none yet. For the pointer-free
    /// layout class and number coincide.
    classes: [AtomicU16; SIZE_CLASSES],
}

/// How a trace function is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceCall {
    function: TraceFn,
    stride_bytes: usize,
    data: usize,
}

impl TraceCall {
    /// Calls it for an object: once, or for each of its elements.
    ///
    /// # Safety
    ///
    /// `bytes` bytes at `object` are an object of the layout, and nobody changes it.
    pub(crate) unsafe fn trace(self, object: usize, bytes: usize, tracer: &mut Tracer<'_>) {
        tracer.set_data(self.data);
        // 0: it takes the whole object.
        let stride = if self.stride_bytes == 0 { bytes } else { self.stride_bytes };
        for element in 0..bytes / stride {
            let at = Address::new(object + element * stride);
            // SAFETY: the caller's promise; whoever registered the function
            // promised that it reads objects of this layout.
            unsafe { (self.function)(at.as_ptr(), stride, tracer) };
        }
    }
}

impl LayoutRecord {
    /// The layout's number.
    #[inline]
    pub fn id(&self) -> LayoutId {
        self.id
    }

    /// Whether objects have no references.
    #[inline]
    pub fn is_noscan(&self) -> bool {
        self.id == LayoutId::NOSCAN
    }

    /// The span class of a size class, if it exists; the number 0 means it
    /// does not.
    #[inline(always)]
    pub(crate) fn known_class(&self, size: SizeClass) -> SpanClassId {
        // Acquire: pairs with the Release in `span_class`. Free on x86.
        SpanClassId::new(self.classes[size.index()].load(Acquire))
    }

    /// The span class of a size class, made if need be.
    ///
    /// # Errors
    ///
    /// When all class numbers are taken, or there is no memory.
    pub(crate) fn span_class(
        &self,
        space: &Space,
        size: SizeClass,
    ) -> Result<SpanClassId, AllocError> {
        let known = self.known_class(size);
        if known.index() != 0 || self.is_noscan() {
            return Ok(known);
        }
        if self.is_opaque() {
            // Relaxed: read while the world is stopped.
            space.has_opaque_objects.store(true, Relaxed);
        }
        self.unroll_once(space);
        let cell_bytes = size.cell_size();
        let mask = match cell_bytes {
            0 => None,
            bytes => self.encoding.unrolled_mask(self.bits, bytes / WORD_SIZE),
        };
        let scan = match (self.encoding, mask) {
            (Encoding::Trace { .. }, _) => Scan::Trace,
            (Encoding::Ephemeron, _) => Scan::Ephemeron,
            (Encoding::Conservative, _) => Scan::Conservative,
            (_, Some(_)) => Scan::Mask,
            (_, None) => Scan::Encoded,
        };
        let info = ClassInfo {
            // Of ambiguous words all: how far to fetch ahead.
            mask: mask.unwrap_or(match scan {
                Scan::Conservative => u64::MAX >> (64 - (cell_bytes / WORD_SIZE).clamp(1, 64)),
                _ => 0,
            }),
            layout: core::ptr::from_ref(self),
            magic: size.magic(),
            cell_bytes: cell_bytes as u32,
            layout_id: self.id,
            cells: size.cells() as u16,
            scan,
            size,
        };
        let made = space.add_class(info).map_err(|error| AllocError::from_os(0, error))?;
        let made = made.ok_or(AllocError::OutOfMemory { bytes: 0, cause: None })?;
        // Who loses the race leaves an unused number behind.
        // Release: publishes the class (pairs with `known_class`).
        match self.classes[size.index()].compare_exchange(0, made.index() as u16, Release, Acquire)
        {
            Ok(_) => Ok(made),
            Err(first) => Ok(SpanClassId::new(first)),
        }
    }

    /// Whether an object of `bytes` should still share a span; counts it.
    pub(crate) fn shares_span(&self, bytes: usize) -> bool {
        // Relaxed: a threshold, not a promise.
        bytes <= MIXED_MAX
            && self.mixed_bytes.load(Relaxed) < MIXED_BYTES
            && self.mixed_bytes.fetch_add(bytes, Relaxed) < MIXED_BYTES
    }

    /// How a trace function is to be called, if there is one.
    pub(crate) fn trace_function(&self) -> Option<TraceCall> {
        match self.encoding {
            Encoding::Trace { function, stride_bytes, data, .. } => {
                Some(TraceCall { function, stride_bytes, data })
            }
            _ => None,
        }
    }

    /// Whether a marker cannot tell the references of an object beside a mutator
    /// that writes it.
    pub(crate) fn is_opaque(&self) -> bool {
        matches!(self.encoding, Encoding::Conservative)
    }

    /// Whether an object is claimed by who reads it beside mutators.
    #[inline]
    pub(crate) fn has_claims(&self) -> bool {
        matches!(self.encoding, Encoding::Trace { calls: Calls::Claimed, .. })
    }

    /// Bytes to allocate for an object of so many: claims need room beside the marks.
    #[inline]
    pub(crate) fn cell_bytes_for(&self, bytes: usize) -> usize {
        if self.has_claims() { bytes.max(CLAIMED_BYTES_MIN) } else { bytes }
    }

    /// Whether any word may be a reference.
    pub(crate) fn is_conservative(&self) -> bool {
        matches!(self.encoding, Encoding::Conservative)
    }

    /// Unrolls a program, unless that was done, or another thread is at it, or
    /// there is no memory: the program itself does as well, only slower.
    fn unroll_once(&self, space: &Space) {
        let Some(unrolled) = self.encoding.unrolled() else { return };
        let Claim::Mine(making) = self.unrolled.claim() else { return };
        let words = unrolled.bits_words();
        let bytes = words * size_of::<u64>();
        let Ok(place) = space.meta().alloc(bytes, align_of::<u64>(), MetaStat::Layouts) else {
            return;
        };
        // SAFETY: fresh zeroed memory of this many words, that nobody else knows.
        let mask = unsafe { core::slice::from_raw_parts_mut(place.cast().as_ptr(), words) };
        self.encoding.unroll(self.bits, mask);
        making.finish(Address::from_ptr(place.as_ptr()).as_usize());
    }

    /// The encoding to scan by, and its stored bits.
    #[inline]
    fn scanned(&self) -> (Encoding, &[u64]) {
        match (self.unrolled.get(), self.encoding.unrolled()) {
            (Some(place), Some(unrolled)) => {
                let place = Address::new(place).as_ptr::<u64>();
                // SAFETY: by invariant 2, and `get` has seen it finished.
                let mask = unsafe { core::slice::from_raw_parts(place, unrolled.bits_words()) };
                (unrolled, mask)
            }
            _ => (self.encoding, self.bits),
        }
    }

    /// Calls `visit` with each word from `from` up to `to` that is a reference.
    #[inline]
    pub(crate) fn for_each_reference(&self, from: usize, to: usize, mut visit: impl FnMut(usize)) {
        let (encoding, bits) = self.scanned();
        for (start, mut mask) in encoding.chunks(bits, from, to) {
            while mask != 0 {
                visit(start + mask.trailing_zeros() as usize);
                mask &= mask - 1;
            }
        }
    }
}

impl Space {
    /// Adds a record for a layout.
    ///
    /// # Errors
    ///
    /// When all numbers are taken, or there is no memory.
    pub(crate) fn register_layout(&self, layout: &TypeLayout) -> Result<LayoutId, AllocError> {
        let words = layout.bits_words();
        let bits: &'static [u64] = if words == 0 {
            &[]
        } else {
            let place = self
                .meta()
                .alloc(words * size_of::<u64>(), align_of::<u64>(), MetaStat::Layouts)
                .map_err(|error| AllocError::from_meta(words * size_of::<u64>(), error))?;
            // SAFETY: fresh zeroed memory of this many words; the record that
            // keeps the slice is itself in memory of the same heap.
            let bits = unsafe { core::slice::from_raw_parts_mut(place.cast().as_ptr(), words) };
            layout.write_bits(bits);
            bits
        };
        let made = self.add_layout(|id| LayoutRecord {
            id,
            encoding: layout.encoding(),
            bits,
            unrolled: OnceWord::new(),
            mixed_bytes: AtomicUsize::new(0),
            classes: core::array::from_fn(|size| {
                AtomicU16::new(if id == LayoutId::NOSCAN { size as u16 } else { 0 })
            }),
        });
        made.map_err(|error| AllocError::from_os(0, error))?
            .ok_or(AllocError::OutOfMemory { bytes: 0, cause: None })
    }

    /// Whether a registered layout is this one.
    pub(crate) fn is_layout(&self, id: LayoutId, layout: &TypeLayout) -> bool {
        let record = self.layout(id);
        layout.is_stored_as(&record.encoding, record.bits)
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Address;
    use crate::heap::meta::MetaStat;
    use crate::layout::{ProgramBuilder, TypeLayout, UNROLLED_WORDS_MAX};
    use crate::raw::{AllocFlags, Config, Force, Heap};

    /// A type of `rounds` times five words, of which the second and the last are
    /// references.
    fn program(rounds: usize) -> TypeLayout {
        let mut program = ProgramBuilder::new();
        program.repeat(rounds, |body| {
            body.literal(5, 0b10010);
        });
        TypeLayout::program(&program.finish().unwrap()).unwrap()
    }

    /// Fills every word of an object of `program(rounds)` with a new leaf, and
    /// checks which of them survive a collection.
    fn check_survivors(heap: &Heap, rounds: usize) {
        let layout = heap.layout(&program(rounds)).unwrap();
        let mutator = heap.attach().unwrap();
        let object = mutator.new_object(layout).unwrap();
        mutator.push_root(object);
        let words = object.cast::<*mut u8>();
        let sampled = (0..20).chain(5 * rounds - 10..5 * rounds);
        let mut leaves = Vec::new();
        for word in sampled {
            let leaf = mutator.mallocgc(24, crate::raw::Layout::NOSCAN, AllocFlags::NONE).unwrap();
            // SAFETY: the word lies in the object, which is a root.
            unsafe { mutator.write(words.add(word).as_ptr(), leaf.as_ptr()) };
            leaves.push((word, Address::from_ptr(leaf.as_ptr())));
        }
        mutator.gc(Force::Now).unwrap();
        for (word, leaf) in leaves {
            let alive = heap.find_object(leaf).is_some();
            assert_eq!(alive, matches!(word % 5, 1 | 4), "word {word}");
        }
    }

    #[test]
    fn a_program_is_unrolled_once_with_threads_racing_the_first_use() {
        for _ in 0..10 {
            let heap = Heap::new(Config::default()).unwrap();
            let layout = heap.layout(&program(10_000)).unwrap();
            let before = heap.inner().space.meta().bytes(MetaStat::Layouts);
            let start = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let mutator = heap.attach().unwrap();
                        start.wait();
                        mutator.new_object(layout).unwrap();
                    });
                }
            });
            let record = heap.inner().space.layout(crate::layout::LayoutId(2));
            assert!(record.unrolled.get().is_some());
            let unrolled = heap.inner().space.meta().bytes(MetaStat::Layouts) - before;
            let mask_bytes = 50_000u64.div_ceil(64) * 8;
            assert!((mask_bytes..2 * mask_bytes).contains(&unrolled), "{unrolled} bytes");
            check_survivors(&heap, 10_000);
        }
    }

    #[test]
    fn a_program_too_long_to_unroll_is_walked() {
        let heap = Heap::new(Config::default()).unwrap();
        let rounds = UNROLLED_WORDS_MAX / 5 + 1;
        check_survivors(&heap, rounds);
        let record = heap.inner().space.layout(crate::layout::LayoutId(2));
        assert_eq!(record.unrolled.get(), None);
    }
}
