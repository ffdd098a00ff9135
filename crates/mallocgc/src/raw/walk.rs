//! Walking a heap: its roots, its objects, and where their references lead.
//!
//! What dumps and questions like "who keeps this alive" are made of. The world is stopped and
//! swept meanwhile, so an object that died before the last cycle is not seen, and one that has died
//! since is.
//!
//! Protection: as a cycle's; the visitor is a callback.

use crate::base::sync::{AtomicUsize, Ordering::Relaxed};
use crate::base::{Address, WORD_SIZE};
use crate::collect::verify;
use crate::heap::layouts::LayoutRecord;
use crate::heap::space::Space;
use crate::heap::span::Span;
use crate::heap::span_class::Scan;
use crate::layout::LayoutId;
use crate::raw::heap::{GcError, Heap, Inner, SafeSection};
use crate::raw::mutator::Mutator;
use crate::world::callback;
use crate::world::mutator::MutatorRecord;
use crate::world::roots::RootSink;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What a walk comes by: first the roots, then the objects in the order of their addresses.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Walked<'w> {
    /// A root leads there. Several may lead to one object, or into it.
    Root(Address),
    /// An object.
    Object(WalkedObject<'w>),
}

/// An object that a walk comes by.
#[derive(Clone, Copy, Debug)]
pub struct WalkedObject<'w> {
    space: &'w Space,
    layout: &'w LayoutRecord,
    address: Address,
    bytes: usize,
}

impl WalkedObject<'_> {
    /// Its first byte.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Usable bytes from there on.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of its layout, as events tell it.
    pub fn layout(&self) -> LayoutId {
        self.layout.id()
    }

    /// Calls `visit` for each word that leads to or into an object: with its offset, and where it leads. The
    /// offset is 0 where a trace function reported the reference.
    pub fn for_each_reference(&self, mut visit: impl FnMut(usize, Address)) {
        let mut visit_known = |offset, value| {
            if self.space.find_object(value).is_some() {
                visit(offset, value);
            }
        };
        if self.layout.is_conservative() {
            for offset in (0..self.bytes).step_by(WORD_SIZE) {
                let place = self.address.add(offset).as_ptr::<AtomicUsize>();
                // SAFETY: a word of an object, of which the world keeps every
                // writer away. Relaxed for that reason.
                visit_known(offset, Address::new(unsafe { (*place).load(Relaxed) }));
            }
        } else {
            verify::for_each_reference(self.layout, self.address, self.bytes, &mut visit_known);
        }
    }
}

impl Heap {
    /// Stops the world and calls `visit` with each root and each object, from a thread that is no mutator of
    /// this heap. What dies is still there; collect first to see what lives. The visitor must not
    /// enter a heap.
    ///
    /// # Errors
    ///
    /// As [`gc`](Heap::gc).
    ///
    /// # Panics
    ///
    /// When `visit` does; the world has gone on then.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap, TypeLayout, Walked};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let pair = heap.layout(&TypeLayout::mask(2, 0b10))?;
    /// let (one, other) = (mutator.new_object(pair)?, mutator.new_object(pair)?);
    /// // SAFETY: the second word of an object that is in hand.
    /// unsafe { mutator.write(one.as_ptr().cast::<*mut u8>().add(1), other.as_ptr()) };
    /// mutator.push_root(one);
    /// let (mut roots, mut edges) = (0, Vec::new());
    /// mutator.walk(|walked| match walked {
    ///     Walked::Object(object) => object.for_each_reference(|offset, target| {
    ///         edges.push((object.address().as_ptr::<u8>(), offset, target.as_ptr::<u8>()));
    ///     }),
    ///     _ => roots += 1,
    /// })?;
    /// assert_eq!((roots, edges), (1, vec![(one.as_ptr(), 8, other.as_ptr())]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn walk(&self, visit: impl FnMut(Walked<'_>)) -> Result<(), GcError> {
        self.inner().walk(None, visit)
    }
}

impl Mutator {
    /// As [`Heap::walk`]; a boundary.
    ///
    /// # Errors
    ///
    /// As [`gc`](Mutator::gc).
    ///
    /// # Panics
    ///
    /// As `Heap::walk`.
    pub fn walk(&self, visit: impl FnMut(Walked<'_>)) -> Result<(), GcError> {
        self.inner().walk(Some(self.record()), visit)
    }
}

impl Inner {
    fn walk(
        &self,
        own: Option<&MutatorRecord>,
        mut visit: impl FnMut(Walked<'_>),
    ) -> Result<(), GcError> {
        if callback::is_inside() {
            return Err(GcError::Reentrant);
        }
        let _safe = own.map(|record| SafeSection::begin(self, record));
        let _cycle = self.lock_cycle();
        self.finish_open_cycle(own)?;
        let space = &self.space;
        space.finish_sweep();
        let limit = self.config.stop_limit;
        let stopped = self.world.stop(own, limit).map_err(GcError::StopTimedOut)?;
        space.close_sweep();
        stopped.for_each_mutator(|mutator| mutator.cache.flush(space));
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _inside = callback::enter();
            stopped.visit_roots(&self.roots, &mut WalkRoots { space, visit: &mut visit });
            space.for_each_span(|_, span| walk_span(space, span, &mut visit));
        }));
        space.open_sweep();
        drop(stopped);
        result.map_err(|panic| resume_unwind(panic))
    }
}

struct WalkRoots<'w, V> {
    space: &'w Space,
    visit: &'w mut V,
}

impl<V: FnMut(Walked<'_>)> RootSink for WalkRoots<'_, V> {
    fn reference(&mut self, value: usize) {
        self.ambiguous(value);
    }

    fn ambiguous(&mut self, value: usize) {
        let address = Address::new(value);
        if self.space.find_object(address).is_some() {
            (self.visit)(Walked::Root(address));
        }
    }
}

fn walk_span(space: &Space, span: &Span, visit: &mut impl FnMut(Walked<'_>)) {
    let class = space.class_info(span.class());
    let mut index = 0;
    while index < span.cells() {
        let cells = space.object_cells(span, index);
        if space.is_allocated(span, index) {
            let mut address = span.cell(index);
            let mut bytes = cells.len() * span.cell_bytes();
            let mut layout = class.layout_id;
            if class.scan == Scan::Mixed {
                // SAFETY: the first word of a mixed cell is its header. Relaxed: the
                // world is stopped.
                let header = unsafe { (*address.as_ptr::<AtomicUsize>()).load(Relaxed) };
                (address, bytes) = (address.add(WORD_SIZE), bytes - WORD_SIZE);
                layout = LayoutId(header as u32);
            }
            // A header of 0 is that of a cell not yet handed out with a layout.
            if class.scan != Scan::Mixed || layout != LayoutId(0) {
                let layout = space.layout(layout);
                visit(Walked::Object(WalkedObject { space, layout, address, bytes }));
            }
        }
        index = cells.end.max(index + 1);
    }
}
