//! What the heap keeps of a layout: its encoding, and its span classes.
//!
//! A layout gets a span class for a size the first time an object of that
//! size is allocated, but not at once: the first [`MIXED_BYTES`] bytes of a
//! layout go to mixed spans, which many rare layouts share at the price of a
//! header word an object.
//!
//! Protection: records are written once and published by their number; the
//! class numbers in them are atomic, zero until the class exists.

use crate::base::WORD_SIZE;
use crate::base::size_class::{SIZE_CLASSES, SizeClass};
use crate::base::sync::{AtomicU16, AtomicUsize, Ordering};
use crate::heap::error::AllocError;
use crate::heap::meta::MetaStat;
use crate::heap::space::Space;
use crate::heap::span_class::{ClassInfo, Scan, SpanClassId};
use crate::layout::{Encoding, LayoutId, TraceFn, TypeLayout};
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
#[derive(Debug)]
pub struct LayoutRecord {
    id: LayoutId,
    encoding: Encoding,
    bits: &'static [u64],
    /// Bytes allocated in mixed spans.
    mixed_bytes: AtomicUsize,
    /// Span class by size class; zero for none yet. For the pointer-free
    /// layout class and number coincide.
    classes: [AtomicU16; SIZE_CLASSES],
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
        let cell_bytes = size.cell_size();
        let mask = match cell_bytes {
            0 => None,
            bytes => self.encoding.unrolled_mask(self.bits, bytes / WORD_SIZE),
        };
        let scan = match (self.encoding, mask) {
            (Encoding::Trace { .. }, _) => Scan::Trace,
            (Encoding::Conservative, _) => Scan::Conservative,
            (_, Some(_)) => Scan::Mask,
            (_, None) => Scan::Encoded,
        };
        let info = ClassInfo {
            mask: mask.unwrap_or(0),
            layout: core::ptr::from_ref(self),
            magic: size.magic(),
            cell_bytes: cell_bytes as u32,
            layout_id: self.id,
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

    /// The trace function, and the bytes between the elements it takes; 0
    /// when it takes the whole object.
    pub(crate) fn trace_function(&self) -> Option<(TraceFn, usize)> {
        match self.encoding {
            Encoding::Trace { function, stride_bytes } => Some((function, stride_bytes)),
            _ => None,
        }
    }

    /// Whether any word may be a reference.
    pub(crate) fn is_conservative(&self) -> bool {
        matches!(self.encoding, Encoding::Conservative)
    }

    /// Calls `visit` with each word from `from` up to `to` that is a reference.
    #[inline]
    pub(crate) fn for_each_reference(&self, from: usize, to: usize, mut visit: impl FnMut(usize)) {
        for (start, mut mask) in self.encoding.chunks(self.bits, from, to) {
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
