//! Layouts of one heap, and the objects of zero bytes.

use crate::base::Address;
use crate::base::sync::{Lock, Rank};
use crate::heap::ephemeron::EPHEMERON_BYTES;
use crate::heap::error::AllocError;
use crate::heap::layouts::LayoutRecord;
use crate::heap::meta::MetaStat;
use crate::heap::space::Space;
use crate::layout::{LayoutError, LayoutId, TypeLayout};
use crate::raw::heap::Inner;
use std::collections::HashMap;
use std::sync::OnceLock;

/// A layout registered with a heap; a copy costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Null for the pointer-free layout, which every heap has.
    pub(crate) record: *const LayoutRecord,
    pub(crate) heap: u64,
    size_bytes: usize,
    /// Whether an array's elements all have the references of the first. Not
    /// the record's, since it depends on the size.
    repeats: bool,
}

// SAFETY: records are immutable once registered but for atomics, and are
// reached only through their heap's mutators (`Mutator` compares the number).
unsafe impl Send for Layout {}
// SAFETY: as for `Send`.
unsafe impl Sync for Layout {}

impl Layout {
    /// The layout of objects without references, in every heap.
    pub const NOSCAN: Layout =
        Layout { record: core::ptr::null(), heap: 0, size_bytes: 0, repeats: true };

    /// A layout whose size nobody will ask for, nor for arrays of it.
    #[inline(always)]
    pub(crate) fn of_parts(record: *const LayoutRecord, heap: u64) -> Layout {
        Layout { record, heap, size_bytes: 0, repeats: false }
    }

    /// Whether objects have no references.
    #[inline]
    pub fn is_noscan(&self) -> bool {
        self.record.is_null()
    }

    /// Bytes of one object of the type the layout was made from.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Whether arrays can be made of it; see
    /// [`TypeLayout::repeats`](crate::layout::TypeLayout::repeats).
    #[inline]
    pub fn repeats(&self) -> bool {
        self.repeats
    }
}

/// The layouts a heap knows.
pub(crate) struct Layouts {
    by_fingerprint: Lock<HashMap<u64, Vec<LayoutId>>>,
    /// That of ephemerons, once there are some.
    ephemeron: OnceLock<Layout>,
}

impl Layouts {
    /// The registry with the two layouts every heap has.
    pub(crate) fn new(space: &Space) -> Result<Layouts, AllocError> {
        let noscan = space.register_layout(&TypeLayout::noscan(0))?;
        assert_eq!(noscan, LayoutId::NOSCAN);
        // Its record only keeps the number: mixed cells name their own layout.
        let mixed = space.register_layout(&TypeLayout::conservative(0))?;
        assert_eq!(mixed, crate::heap::layouts::MIXED_LAYOUT);
        let by_fingerprint = Lock::new(Rank::Layouts, HashMap::new());
        Ok(Layouts { by_fingerprint, ephemeron: OnceLock::new() })
    }

    /// The address of all objects of zero bytes.
    pub(crate) fn zero_base(&self, space: &Space) -> Result<Address, AllocError> {
        let place = space
            .meta()
            .alloc(16, 4096, MetaStat::Other)
            .map_err(|error| AllocError::from_meta(0, error))?;
        Ok(Address::from_ptr(place.as_ptr()))
    }

    /// The layout of ephemerons.
    pub(crate) fn ephemeron(&self, inner: &Inner) -> Result<Layout, AllocError> {
        if let Some(layout) = self.ephemeron.get() {
            return Ok(*layout);
        }
        let none = AllocError::OutOfMemory { bytes: 0, cause: None };
        let made = TypeLayout::ephemeron(EPHEMERON_BYTES).named("ephemeron");
        let layout = self.register(inner, &made).map_err(|_| none)?;
        Ok(*self.ephemeron.get_or_init(|| layout))
    }

    pub(crate) fn register(
        &self,
        inner: &Inner,
        layout: &TypeLayout,
    ) -> Result<Layout, LayoutError> {
        let size_bytes = layout.size_bytes();
        if layout.is_noscan() {
            return Ok(Layout { size_bytes, ..Layout::NOSCAN });
        }
        let space = &inner.space;
        let mut known = self.by_fingerprint.lock();
        let alike = known.entry(layout.fingerprint()).or_default();
        let id = match alike.iter().find(|&&id| space.is_layout(id, layout)) {
            Some(&id) => id,
            None => {
                let id = space.register_layout(layout).map_err(|_| LayoutError::NoRoom)?;
                alike.push(id);
                id
            }
        };
        let repeats = layout.repeats();
        Ok(Layout { record: space.layout(id), heap: inner.id, size_bytes, repeats })
    }
}
