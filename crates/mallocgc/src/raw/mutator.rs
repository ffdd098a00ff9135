//! A thread's side of a heap: allocation, boundaries, its own roots.
//!
//! The fast path of [`Mutator::mallocgc`] finds the size class, the span
//! class, and bumps a cursor; everything else is in `slow`.

use crate::base::size_class::{MAX_SMALL_SIZE, SizeClass, TINY_SIZE};
use crate::base::sync::Ordering::Relaxed;
use crate::base::{Address, WORD_SIZE};
use crate::collect::verify::Fault;
use crate::heap::cache::{CLEAR_AHEAD_MAX, Cache, ClassCursor, Cursors};
use crate::heap::error::AllocError;
use crate::heap::large::Clear;
use crate::heap::layouts::LayoutRecord;
use crate::heap::space::Space;
use crate::heap::span_class::{Scan, SpanClassId};
use crate::layout::LayoutId;
use crate::observe::Event;
use crate::raw::heap::{Force, GcError, Heap, HeapError, Inner};
use crate::raw::layout::Layout;
use crate::world::callback;
use crate::world::gate::{ABANDONED, CYCLE_DUE, Gate, REQUESTS, STOP};
use crate::world::mutator::{MutatorRecord, RootCallback};
use crate::world::roots::RootVisitor;
use crate::world::stop::AttachError;
use core::cell::Cell;
use core::marker::PhantomData;
use core::num::NonZeroU64;
use core::ptr::NonNull;

/// How an object is allocated. Combine with `|`.
///
/// # Examples
///
/// ```
/// use mallocgc::raw::{AllocFlags, Config, Heap, Layout};
///
/// let heap = Heap::new(Config::default())?;
/// let mutator = heap.attach()?;
/// // A boundary, and a block of its own: a cleanup on the object depends on nothing else.
/// let flags = AllocFlags::SAFEPOINT | AllocFlags::NO_TINY;
/// let object = mutator.mallocgc(8, Layout::NOSCAN, flags)?;
/// mutator.add_cleanup(object.as_ptr(), |_| println!("gone"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AllocFlags(u32);

impl AllocFlags {
    /// Zeroed, and no collection.
    pub const NONE: AllocFlags = AllocFlags(0);
    /// The contents are unspecified. Pointer-free objects only.
    pub const NO_ZERO: AllocFlags = AllocFlags(1);
    /// The allocation is a boundary: it may collect first. Every reference
    /// the thread still needs must be in a root.
    pub const SAFEPOINT: AllocFlags = AllocFlags(2);
    /// The object does not share a block with others, so that a finalizer,
    /// cleanup or weak handle on it depends on nothing else.
    pub const NO_TINY: AllocFlags = AllocFlags(4);

    fn has(self, flag: AllocFlags) -> bool {
        self.0 & flag.0 != 0
    }
}

impl core::ops::BitOr for AllocFlags {
    type Output = AllocFlags;
    fn bitor(self, other: AllocFlags) -> AllocFlags {
        AllocFlags(self.0 | other.0)
    }
}

/// A size and layout resolved to a span class, for sites that allocate the
/// same kind of object again and again.
#[derive(Clone, Copy, Debug)]
pub struct AllocClass {
    class: SpanClassId,
    clear: bool,
    pub(crate) size: usize,
    pub(crate) heap: u64,
}

impl AllocClass {
    /// A class of no heap: nothing can be allocated of it.
    pub const NONE: AllocClass =
        AllocClass { class: SpanClassId::new(0), clear: false, size: 0, heap: 0 };

    /// The class whose cursor generated code may use. That of large objects gives nothing.
    pub(crate) fn window_class(self) -> SpanClassId {
        if self.clear { SpanClassId::new(0) } else { self.class }
    }
}

impl AllocClass {
    /// For the shortest path; never anything to give where cells are cleared
    /// when they are handed out.
    pub(crate) fn quick(self) -> SpanClassId {
        // Number 0 has no cells: its cursor is always empty.
        if self.clear { SpanClassId::new(0) } else { self.class }
    }
}

/// One thread's side of a heap. Dropping it detaches the thread.
///
/// # Invariants
///
/// 1. `record` is this mutator's and lives as long as `heap`.
/// 2. `gate` is the world's, and `space` the heap's, which `heap` keeps.
/// 3. `cursors` are those of the record's cache.
#[derive(Debug)]
pub struct Mutator {
    record: NonNull<MutatorRecord>,
    cursors: Cursors,
    gate: NonNull<Gate>,
    space: NonNull<Space>,
    heap_id: NonZeroU64,
    /// Counts down to the next forced collection, for debugging.
    until_collection: Cell<u32>,
    /// Why the last slow path failed: told apart from its result, so that
    /// that fits a register.
    failure: Cell<AllocError>,
    heap: Heap,
    /// A mutator belongs to its thread.
    _not_send: PhantomData<*mut ()>,
}

impl Mutator {
    pub(crate) fn attach(heap: &Heap) -> Result<Mutator, HeapError> {
        let inner = heap.inner();
        Mutator::with_record(heap, inner.world.attach(&inner.space))
    }

    /// A mutator for another thread, which works inside this one's section: both are active. The other is given to its thread,
    /// which calls [`adopt`](Mutator::adopt).
    ///
    /// # Safety
    ///
    /// This mutator stays active until the other is dropped, which happens before for all threads.
    pub(crate) unsafe fn attach_within(&self) -> Result<Mutator, HeapError> {
        if callback::is_inside() {
            return Err(HeapError::Reentrant);
        }
        let inner = self.inner();
        // SAFETY: the caller's promise.
        let record = unsafe { inner.world.attach_within(&inner.space, self.record()) };
        Mutator::with_record(&self.heap, record)
    }

    /// The calling thread is the mutator's from now on.
    pub(crate) fn adopt(&self) {
        self.record().thread.set_current();
    }

    fn with_record(
        heap: &Heap,
        record: Result<NonNull<MutatorRecord>, AttachError>,
    ) -> Result<Mutator, HeapError> {
        let inner = heap.inner();
        let record = record.map_err(|error| match error {
            AttachError::OutOfMemory(error) => {
                HeapError::OutOfMemory(AllocError::from_meta(0, error))
            }
            AttachError::AlreadyAttached => HeapError::AlreadyAttached,
        })?;
        let mutator = Mutator {
            record,
            // SAFETY: just made, and kept by the heap.
            cursors: unsafe { record.as_ref() }.cache.cursors(),
            gate: NonNull::from(inner.world.gate()),
            space: NonNull::from(&inner.space),
            heap_id: NonZeroU64::new(inner.id).expect("heaps are numbered from one"),
            until_collection: Cell::new(inner.config.collect_every),
            failure: Cell::new(AllocError::Reentrant),
            heap: heap.clone(),
            _not_send: PhantomData,
        };
        // Relaxed: a setting; here and below some recent value will do.
        mutator.cache().set_sample_rate(inner.profile_rate.load(Relaxed));
        mutator.cache().set_single_step(&inner.space, inner.steps_singly());
        inner.tell_mutator(mutator.record(), |mutators| Event::Attached { mutators });
        Ok(mutator)
    }

    /// The heap.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }

    #[inline(always)]
    pub(crate) fn record(&self) -> &MutatorRecord {
        // SAFETY: invariant 1.
        unsafe { self.record.as_ref() }
    }

    pub(crate) fn record_pointer(&self) -> NonNull<MutatorRecord> {
        self.record
    }

    #[inline(always)]
    fn cache(&self) -> &Cache {
        &self.record().cache
    }

    /// The next cell of the open chunk of a class.
    #[inline(always)]
    pub(crate) fn bump(&self, class: SpanClassId) -> Option<Address> {
        // SAFETY: invariants 3 and 1; a mutator belongs to its thread.
        unsafe { self.cursors.bump(class) }
    }

    #[inline(always)]
    pub(crate) fn inner(&self) -> &Inner {
        self.heap.inner()
    }

    pub(crate) fn cursors(&self) -> Cursors {
        self.cursors
    }

    /// The heap's memory, at hand for the barrier.
    #[inline(always)]
    pub(crate) fn space(&self) -> &Space {
        // SAFETY: invariant 2.
        unsafe { self.space.as_ref() }
    }

    /// Whether marking runs beside the mutators, so that the barrier has work.
    #[inline(always)]
    pub(crate) fn is_marking(&self) -> bool {
        self.space().is_marking()
    }

    // --- allocation --------------------------------------------------------

    /// Allocates `size` bytes whose references are where `layout` says.
    ///
    /// Zero bytes have one shared address. Pointer-free objects of less than
    /// 16 bytes may share a 16-byte block. The alignment is that of the size
    /// class, at least 8 from 8 bytes on, and the usable size what
    /// [`round_up_size`](crate::base::round_up_size) says.
    ///
    /// The first 16 KiB of a layout with references are an exception: objects of
    /// up to 512 bytes then share spans with those of other layouts, behind a
    /// header word. They are aligned to 8 only, and a cell for a word more is
    /// theirs but for that word: never less than `size`, but it may be less or
    /// more than `round_up_size(size)`.
    /// [`mallocgc_aligned`](Mutator::mallocgc_aligned) gives an alignment always.
    ///
    /// # Errors
    ///
    /// [`AllocError`]; nothing has been allocated then, and the heap works on.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocError, AllocFlags, Config, Heap, Layout, TypeLayout};
    ///
    /// let heap = Heap::new(Config { heap_limit_bytes: 8 << 20, ..Config::default() })?;
    /// let mutator = heap.attach()?;
    /// let pair = heap.layout(&TypeLayout::mask(2, 0b11))?;
    /// let object = mutator.mallocgc(16, pair, AllocFlags::NONE)?;
    /// // SAFETY: two words, zeroed.
    /// assert_eq!(unsafe { object.cast::<[usize; 2]>().read() }, [0, 0]);
    /// let refused = mutator.mallocgc(16 << 20, Layout::NOSCAN, AllocFlags::NONE);
    /// assert!(matches!(refused, Err(AllocError::LimitReached { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn mallocgc(
        &self,
        size: usize,
        layout: Layout,
        flags: AllocFlags,
    ) -> Result<NonNull<u8>, AllocError> {
        // One comparison for both ends: zero wraps. Larger cells are cleared
        // when handed out, by `slow`.
        if flags.0 == 0 && size.wrapping_sub(1) < CLEAR_AHEAD_MAX {
            // The layout of pointer-free objects is no heap's, so this tells
            // them apart, too. The branches end alike and are written out:
            // joined they are two instructions longer.
            if layout.heap == self.heap_id.get() {
                // SAFETY: a record of this heap, which `self.heap` keeps.
                let record: &LayoutRecord = unsafe { &*layout.record };
                // Of a class not made yet the number is 0, whose cursor is
                // always empty: objects of that class are large.
                let class = record.known_class(SizeClass::for_size(size));
                if let Some(place) = self.bump(class) {
                    return Ok(as_pointer(place));
                }
            } else if layout.is_noscan() {
                if size < TINY_SIZE {
                    return match self.cache().tiny(size) {
                        Some(place) => Ok(as_pointer(place)),
                        None => self.tiny_block(size).ok_or_else(|| self.failure.get()),
                    };
                }
                let class = SpanClassId::no_scan(SizeClass::for_size(size));
                if let Some(place) = self.bump(class) {
                    return Ok(as_pointer(place));
                }
            }
        }
        let made = self.slow(size, layout.record, layout.heap, flags);
        made.ok_or_else(|| self.failure.get())
    }

    /// Resolves a size and layout once; [`alloc`](Mutator::alloc) then takes
    /// the shortest path.
    ///
    /// # Errors
    ///
    /// [`AllocError::ZeroSize`] for zero bytes, [`AllocError::TooLarge`] above
    /// 32 KiB; no memory; wrong heap.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap, TypeLayout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let pair = heap.layout(&TypeLayout::mask(2, 0b11))?;
    /// let class = mutator.alloc_class(16, pair)?;
    /// for _ in 0..1000 {
    ///     mutator.alloc(class)?;
    /// }
    /// assert_eq!(heap.stats().heap_objects, 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn alloc_class(&self, size: usize, layout: Layout) -> Result<AllocClass, AllocError> {
        if size == 0 {
            return Err(AllocError::ZeroSize);
        }
        if size > MAX_SMALL_SIZE {
            return Err(AllocError::TooLarge { bytes: size });
        }
        let mut size_class = SizeClass::for_size(size);
        let class = if layout.is_noscan() {
            SpanClassId::no_scan(size_class)
        } else {
            let record = self.layout_record(layout)?;
            size_class = SizeClass::for_size(record.cell_bytes_for(size));
            record.span_class(&self.inner().space, size_class)?
        };
        let clear = size_class.cell_size() > CLEAR_AHEAD_MAX;
        Ok(AllocClass { class, clear, size: size_class.cell_size(), heap: self.heap_id.get() })
    }

    /// Allocates a zeroed object of a resolved class.
    ///
    /// # Errors
    ///
    /// As [`mallocgc`](Mutator::mallocgc).
    #[inline(always)]
    pub fn alloc(&self, class: AllocClass) -> Result<NonNull<u8>, AllocError> {
        if class.heap != self.heap_id.get() {
            return Err(AllocError::WrongHeap);
        }
        match self.bump(class.class) {
            Some(place) if !class.clear => Ok(as_pointer(place)),
            Some(place) => {
                self.clear_cell(place, class.class, class.size);
                Ok(as_pointer(place))
            }
            None => self.alloc_slow(class),
        }
    }

    #[cold]
    #[inline(never)]
    fn alloc_slow(&self, class: AllocClass) -> Result<NonNull<u8>, AllocError> {
        let made = self.refill(class.class, class.size, Clear::Yes, AllocFlags::NONE);
        made.ok_or_else(|| self.failure.get())
    }

    /// The cursor of a resolved class of this heap, whose cells are handed out clear if they have at most
    /// `CLEAR_AHEAD_MAX` bytes.
    pub(crate) fn class_cursor(&self, class: AllocClass) -> ClassCursor {
        self.cursors.class_cursor(class.class)
    }

    /// Memory that shares no block, of at least one byte; `None` after an error, which is
    /// [`last_failure`](Mutator::last_failure). The layout is of this heap.
    #[inline]
    pub(crate) fn alloc_whole(&self, size: usize, layout: Layout) -> Option<NonNull<u8>> {
        if size <= CLEAR_AHEAD_MAX {
            let size_class = SizeClass::for_size(size);
            let class = match layout.is_noscan() {
                true => SpanClassId::no_scan(size_class),
                // SAFETY: a record of this heap, which `self.heap` keeps. A class that is not made yet is 0, as in
                // `mallocgc`.
                false => unsafe { &*layout.record }.known_class(size_class),
            };
            if let Some(place) = self.bump(class) {
                return Some(as_pointer(place));
            }
        }
        self.slow(size, layout.record, layout.heap, AllocFlags::NO_TINY)
    }

    /// The heap's number, which is part of its layouts.
    #[inline(always)]
    pub(crate) fn heap_id(&self) -> u64 {
        self.heap_id.get()
    }

    /// Why the last allocation that returned no error and no object failed.
    pub(crate) fn last_failure(&self) -> AllocError {
        self.failure.get()
    }

    /// As [`mallocgc`](Mutator::mallocgc), at an address that is a multiple
    /// of `align`, a power of two up to 4096, whatever the size and the layout.
    ///
    /// # Errors
    ///
    /// [`AllocError::BadAlign`]; else as `mallocgc`.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let object = mutator.mallocgc_aligned(100, 64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// assert!(object.addr().get().is_multiple_of(64));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mallocgc_aligned(
        &self,
        size: usize,
        align: usize,
        layout: Layout,
        flags: AllocFlags,
    ) -> Result<NonNull<u8>, AllocError> {
        if !align.is_power_of_two() || align > 4096 {
            return Err(AllocError::BadAlign { align });
        }
        self.any(size, align, layout, flags)
    }

    /// Allocates one zeroed object of the type a layout was made from.
    ///
    /// # Errors
    ///
    /// As [`mallocgc`](Mutator::mallocgc).
    #[inline]
    pub fn new_object(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.mallocgc(layout.size_bytes(), layout, AllocFlags::NONE)
    }

    /// Allocates `count` zeroed values of the type a layout was made from, one
    /// behind the other. For more than one the layout must repeat:
    /// [`TypeLayout::array_of`](crate::layout::TypeLayout::array_of).
    ///
    /// # Errors
    ///
    /// [`AllocError::NotRepeating`] when it does not; [`AllocError::TooLarge`]
    /// when the product overflows or nothing so large can exist; else as
    /// [`mallocgc`](Mutator::mallocgc). Nothing has been allocated then.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocError, Config, Heap, TypeLayout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// // Pairs of a number and a reference.
    /// let pair = TypeLayout::mask(2, 0b10);
    /// let pairs = heap.layout(&pair.array_of()?)?;
    /// mutator.new_array(pairs, 100)?;
    /// assert_eq!(heap.stats().heap_objects, 1);
    /// // A layout that does not say how it goes on.
    /// let one = heap.layout(&pair)?;
    /// assert_eq!(mutator.new_array(one, 2), Err(AllocError::NotRepeating));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new_array(&self, layout: Layout, count: usize) -> Result<NonNull<u8>, AllocError> {
        if count > 1 && !layout.repeats() {
            return Err(AllocError::NotRepeating);
        }
        let bytes = layout
            .size_bytes()
            .checked_mul(count)
            .ok_or(AllocError::TooLarge { bytes: usize::MAX })?;
        self.mallocgc(bytes, layout, AllocFlags::NONE)
    }

    /// Allocates pointer-free memory with unspecified contents.
    ///
    /// # Errors
    ///
    /// As [`mallocgc`](Mutator::mallocgc).
    pub fn raw_mem(&self, size: usize) -> Result<NonNull<u8>, AllocError> {
        self.mallocgc(size, Layout::NOSCAN, AllocFlags::NO_ZERO)
    }

    fn layout_record(&self, layout: Layout) -> Result<&LayoutRecord, AllocError> {
        if layout.heap != self.heap_id.get() {
            return Err(AllocError::WrongHeap);
        }
        // SAFETY: a record of this heap, which `self.heap` keeps.
        Ok(unsafe { &*layout.record })
    }

    /// The first object of a block of tiny ones; `None` as in `slow`.
    #[cold]
    #[inline(never)]
    fn tiny_block(&self, size: usize) -> Option<NonNull<u8>> {
        // Every second tiny object comes here: nothing but the jump at the end
        // needs a frame.
        let Some(place) = self.bump(SpanClassId::TINY) else { return self.tiny_block_slow(size) };
        self.cache().offer_tiny_block(place, size);
        Some(as_pointer(place))
    }

    #[cold]
    #[inline(never)]
    fn tiny_block_slow(&self, size: usize) -> Option<NonNull<u8>> {
        let place = self.refill(SpanClassId::TINY, TINY_SIZE, Clear::Yes, AllocFlags::NONE)?;
        self.cache().offer_tiny_block(Address::from_ptr(place.as_ptr()), size);
        Some(place)
    }

    /// Puts the error of a slow path aside.
    pub(crate) fn note<R>(&self, made: Result<R, AllocError>) -> Option<R> {
        made.inspect_err(|&error| self.failure.set(error)).ok()
    }

    /// As [`any`](Mutator::any) at no alignment of its own; `None` after an
    /// error, which is in `failure`. Takes the parts of a layout, and returns
    /// no error, so that the call needs no place on the stack.
    #[cold]
    #[inline(never)]
    fn slow(
        &self,
        size: usize,
        record: *const LayoutRecord,
        heap: u64,
        flags: AllocFlags,
    ) -> Option<NonNull<u8>> {
        self.note(self.any(size, 1, Layout::of_parts(record, heap), flags))
    }

    /// Every way to allocate but the short ones.
    fn any(
        &self,
        size: usize,
        align: usize,
        layout: Layout,
        flags: AllocFlags,
    ) -> Result<NonNull<u8>, AllocError> {
        if size == 0 {
            return Ok(self.heap.zero_base());
        }
        let clear = if flags.has(AllocFlags::NO_ZERO) { Clear::No } else { Clear::Yes };
        if flags.has(AllocFlags::SAFEPOINT) {
            self.collect_if_due()?;
        }
        if !layout.is_noscan() {
            let record = self.layout_record(layout)?;
            if clear == Clear::No {
                return Err(AllocError::UnzeroedReferences);
            }
            let cell_bytes = record.cell_bytes_for(size);
            let Some(size_class) = SizeClass::for_size_align(cell_bytes, align) else {
                return self.large(size, record, clear, flags);
            };
            let known = record.known_class(size_class);
            let class = if known.index() != 0 {
                known
            } else if align <= WORD_SIZE && record.shares_span(size) {
                return self.mixed(size, record, flags);
            } else {
                record.span_class(&self.inner().space, size_class)?
            };
            return self.small(class, size_class, clear, flags);
        }
        if size < TINY_SIZE && align <= 8 && !flags.has(AllocFlags::NO_TINY) {
            // An alignment beyond the size's own would need padding rules of
            // its own; such objects take a cell.
            if align <= 1 << size.trailing_zeros() {
                return match self.cache().tiny(size) {
                    Some(place) => Ok(as_pointer(place)),
                    None => self.tiny_block(size).ok_or_else(|| self.failure.get()),
                };
            }
        }
        let Some(size_class) = SizeClass::for_size_align(size, align) else {
            let record = self.inner().space.layout(LayoutId::NOSCAN);
            return self.large(size, record, clear, flags);
        };
        self.small(SpanClassId::no_scan(size_class), size_class, clear, flags)
    }

    fn small(
        &self,
        class: SpanClassId,
        size: SizeClass,
        clear: Clear,
        flags: AllocFlags,
    ) -> Result<NonNull<u8>, AllocError> {
        match self.bump(class) {
            Some(place) => {
                if clear == Clear::Yes && size.cell_size() > CLEAR_AHEAD_MAX {
                    self.clear_cell(place, class, size.cell_size());
                }
                Ok(as_pointer(place))
            }
            None => {
                let made = self.refill(class, size.cell_size(), clear, flags);
                made.ok_or_else(|| self.failure.get())
            }
        }
    }

    /// An object behind a header word, in a span shared with other layouts.
    fn mixed(
        &self,
        size: usize,
        record: &LayoutRecord,
        flags: AllocFlags,
    ) -> Result<NonNull<u8>, AllocError> {
        let size_class = SizeClass::for_size(size + WORD_SIZE);
        let class = SpanClassId::mixed(size_class);
        if record.is_opaque() {
            // Relaxed: read while the world is stopped.
            self.inner().space.has_opaque_objects.store(true, Relaxed);
        }
        let cell = self.small(class, size_class, Clear::Yes, flags)?;
        // SAFETY: the cell is ours and longer than a word. Relaxed: a marker
        // sees it once the world has stopped.
        let object = unsafe {
            let header = &*cell.cast::<crate::base::sync::AtomicUsize>().as_ptr();
            header.store(record.id().index(), Relaxed);
            cell.add(WORD_SIZE)
        };
        // `refill` does not know the layout.
        let (address, bytes) = (Address::from_ptr(object.as_ptr()), size_class.cell_size());
        self.inner().tell_alloc(self.cache(), address, bytes - WORD_SIZE, record.id());
        Ok(object)
    }

    fn large(
        &self,
        size: usize,
        record: &LayoutRecord,
        clear: Clear,
        flags: AllocFlags,
    ) -> Result<NonNull<u8>, AllocError> {
        if callback::is_inside() {
            return Err(AllocError::Reentrant);
        }
        let inner = self.inner();
        let (place, bytes) = self
            .with_retry(flags, || self.note(inner.space.alloc_large(size, record, clear)))
            .ok_or_else(|| self.failure.get())?;
        self.cache().count_large(bytes);
        inner.tell_alloc(self.cache(), place, bytes, record.id());
        self.cache().set_sample_rate(inner.profile_rate.load(Relaxed));
        if self.cache().sample_large(bytes) {
            inner.sample(place, bytes);
        }
        self.pay(inner);
        inner.after_growth();
        Ok(as_pointer(place))
    }

    /// A cell of `class` when the open chunk is used up; `None` as in `slow`.
    ///
    /// What it and its callees return fits registers: read back from the stack, it would wait
    /// until the lines of the chunk just cleared have come into the cache.
    #[cold]
    #[inline(never)]
    fn refill(
        &self,
        class: SpanClassId,
        cell_bytes: usize,
        clear: Clear,
        flags: AllocFlags,
    ) -> Option<NonNull<u8>> {
        if callback::is_inside() {
            return self.note(Err(AllocError::Reentrant));
        }
        let inner = self.inner();
        self.cache().set_single_step(&inner.space, inner.steps_singly());
        self.cache().set_sample_rate(inner.profile_rate.load(Relaxed));
        let refill = || self.cache().refill(&inner.space, class, &self.failure);
        let cell = self.with_retry(flags, refill)?;
        // Before a listener is told, who may have the chunks closed.
        if clear == Clear::Yes && cell_bytes > CLEAR_AHEAD_MAX {
            self.clear_cell(cell.address, class, cell_bytes);
        }
        if inner.events.tells_objects() {
            let info = inner.space.class_info(class);
            // Of a cell with a header `mixed` tells.
            if info.scan != Scan::Mixed {
                inner.tell_alloc(self.cache(), cell.address, cell_bytes, info.layout_id);
            }
        }
        if cell.sampled {
            inner.sample(cell.address, cell_bytes);
        }
        self.pay(inner);
        inner.after_growth();
        Some(as_pointer(cell.address))
    }

    /// What an allocation that took memory does for the collector.
    #[inline]
    fn pay(&self, inner: &Inner) {
        if inner.space.is_marking() {
            self.assist();
        } else if inner.space.unswept_spans.load(Relaxed) != 0 {
            self.sweep_ahead();
        }
    }

    /// Tries again when memory was short: after sweeping what is unswept, at a safepoint
    /// after a collection, and after another when pressure hooks have dropped something. The
    /// attempt's error is in `failure`.
    #[inline(always)]
    fn with_retry<R>(&self, flags: AllocFlags, attempt: impl Fn() -> Option<R>) -> Option<R> {
        attempt().or_else(|| self.retry(flags, attempt))
    }

    #[cold]
    #[inline(never)]
    fn retry<R>(&self, flags: AllocFlags, attempt: impl Fn() -> Option<R>) -> Option<R> {
        match self.failure.get() {
            // Whatever a collection frees: this alone is more than the limit.
            AllocError::LimitReached { bytes, limit_bytes } if bytes > limit_bytes => return None,
            error if !error.may_succeed_later() => return None,
            _ => {}
        }
        let inner = self.inner();
        inner.space.finish_sweep();
        let second = attempt();
        if second.is_some() {
            return second;
        }
        if !flags.has(AllocFlags::SAFEPOINT) {
            self.raise_if_refused();
            inner.space.short_of_memory.store(true, Relaxed);
            inner.announce_cycle();
            return None;
        }
        if inner.collect(Some(self.record()), Force::NowAndSweep).is_err() {
            return None;
        }
        attempt().or_else(|| {
            self.raise_if_refused();
            if !inner.relieve_pressure(self)
                || inner.collect(Some(self.record()), Force::NowAndSweep).is_err()
            {
                return None;
            }
            attempt()
        })
    }

    /// Raises pressure when it was the heap limit by which an allocation failed.
    fn raise_if_refused(&self) {
        if matches!(self.failure.get(), AllocError::LimitReached { .. }) {
            self.inner().raise_refused();
        }
    }

    #[inline]
    fn clear_cell(&self, place: Address, class: SpanClassId, bytes: usize) {
        if self.cache().needs_clearing(class) {
            // SAFETY: the cell was just handed to this thread.
            unsafe { core::ptr::write_bytes(place.as_ptr::<u8>(), 0, bytes) };
        }
    }

    // --- boundaries --------------------------------------------------------

    /// A boundary: runs a cycle that is due, and waits while the world is
    /// stopped. Every reference the thread still needs must be in a root.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let kept = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// mutator.push_root(kept);
    /// for _ in 0..1_000_000 {
    ///     mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    ///     mutator.poll();
    /// }
    /// assert!(heap.stats().num_gc > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn poll(&self) {
        // The slow path looks again.
        if self.is_asked() || self.until_collection.get() != 0 {
            self.poll_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn poll_slow(&self) {
        if callback::is_inside() {
            return;
        }
        let inner = self.inner();
        let word = inner.world.poll_word();
        if word & STOP != 0 {
            inner.history.note_blocked(inner.world.park_if_stopping(self.record()));
        }
        if word & ABANDONED != 0 {
            inner.world.detach_abandoned(&inner.space);
        }
        if self.count_down() {
            if !inner.request_cycle() {
                // A mutator that does not stop puts the cycle off; it is logged.
                let _ = inner.collect(Some(self.record()), Force::Now);
            }
        } else if word & CYCLE_DUE != 0 && !self.help_if_late() {
            let _ = inner.collect(Some(self.record()), Force::IfNeeded);
        }
        inner.relieve_pressure(self);
    }

    /// Whether the n-th boundary has come.
    fn count_down(&self) -> bool {
        let every = self.inner().config.collect_every;
        if every == 0 {
            return false;
        }
        let left = self.until_collection.get() - 1;
        self.until_collection.set(if left == 0 { every } else { left });
        left == 0
    }

    fn collect_if_due(&self) -> Result<(), AllocError> {
        if callback::is_inside() {
            return Err(AllocError::Reentrant);
        }
        self.poll();
        Ok(())
    }

    #[inline(always)]
    fn gate(&self) -> &Gate {
        // SAFETY: invariant 2.
        unsafe { self.gate.as_ref() }
    }

    /// The thread counts as stopped from here on; whether a poll would have done
    /// something.
    #[inline(always)]
    pub(crate) fn become_safe(&self) -> bool {
        let asked = self.gate().leave(&self.record().state);
        asked != 0 && self.became_safe(asked)
    }

    #[cold]
    #[inline(never)]
    fn became_safe(&self, asked: u32) -> bool {
        if asked & STOP != 0 {
            self.inner().world.report_arrival();
        }
        asked & !STOP != 0
    }

    /// And no more; waits while the world is stopped.
    #[inline(always)]
    pub(crate) fn become_active(&self) {
        if !self.gate().try_enter(&self.record().state) {
            self.wait_to_become_active();
        }
    }

    #[cold]
    #[inline(never)]
    fn wait_to_become_active(&self) {
        let inner = self.inner();
        inner.history.note_blocked(inner.world.wait_to_enter(self.record()));
    }

    /// Whether a poll would do something.
    #[inline(always)]
    pub(crate) fn is_asked(&self) -> bool {
        self.gate().poll_word() & REQUESTS != 0
    }

    /// Whether polls count down to a collection, for debugging.
    #[inline(always)]
    pub(crate) fn counts_polls(&self) -> bool {
        self.until_collection.get() != 0
    }

    /// Runs `f`, which does not touch the heap, while the thread counts as
    /// stopped: system calls, waiting, long computations.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Force, Heap};
    /// use std::sync::mpsc::channel;
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mut mutator = heap.attach()?;
    /// let (sender, collected) = channel();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| sender.send(heap.gc(Force::Now)));
    ///     // The other's collection need not wait for this thread.
    ///     mutator.blocking(|| collected.recv().unwrap())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn blocking<R>(&mut self, f: impl FnOnce() -> R) -> R {
        if callback::is_inside() {
            return f();
        }
        struct Back<'m>(&'m Mutator);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.become_active();
            }
        }
        self.become_safe();
        let _back = Back(self);
        f()
    }

    /// Runs a collection.
    ///
    /// # Errors
    ///
    /// When another mutator reaches no boundary in time, or inside a callback.
    pub fn gc(&self, force: Force) -> Result<(), GcError> {
        let inner = self.inner();
        inner.collect(Some(self.record()), force)?;
        inner.relieve_pressure(self);
        Ok(())
    }

    /// Checks the heap as [`Heap::verify`] does.
    ///
    /// # Errors
    ///
    /// As [`gc`](Mutator::gc).
    pub fn verify(&self) -> Result<Option<Fault>, GcError> {
        self.inner().verify(Some(self.record()))
    }

    // --- references --------------------------------------------------------

    /// Keeps an object alive until the mutator's root stack is cut below it;
    /// returns its place on the stack.
    ///
    /// # Panics
    ///
    /// When the stack holds 16 Mi roots, or has no memory for one more.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let mark = mutator.root_count();
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// let place = mutator.push_root(object);
    /// mutator.gc(Force::Now)?;
    /// assert_eq!(mutator.root(place), object);
    /// mutator.truncate_roots(mark); // all that was pushed since
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn push_root(&self, object: NonNull<u8>) -> usize {
        let roots = &self.record().roots;
        let pushed = roots.push(Address::from_ptr(object.as_ptr()));
        assert!(pushed, "the root stack cannot hold more than {} roots", roots.len());
        roots.len() - 1
    }

    /// Roots on the stack.
    #[inline]
    pub fn root_count(&self) -> usize {
        self.record().roots.len()
    }

    /// The object at a place of the root stack.
    ///
    /// # Panics
    ///
    /// When there is no such place.
    #[inline]
    pub fn root(&self, index: usize) -> NonNull<u8> {
        as_pointer(self.record().roots.get(index))
    }

    /// Puts another object at a place of the root stack.
    ///
    /// # Panics
    ///
    /// When there is no such place.
    #[inline]
    pub fn set_root(&self, index: usize, object: NonNull<u8>) {
        self.record().roots.set(index, Address::from_ptr(object.as_ptr()));
    }

    /// Cuts the root stack to `len` roots; in a finalizer or cleanup, of those that
    /// it has pushed itself.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    #[inline]
    pub fn truncate_roots(&self, len: usize) {
        self.record().roots.truncate(len);
    }

    /// Sets the callback that visits this mutator's other roots at every
    /// cycle; `None` removes it. It runs with the world stopped, perhaps on
    /// another thread, and must not enter the heap.
    ///
    /// # Errors
    ///
    /// [`HeapError::Reentrant`] inside a callback of a heap, which may be this
    /// one; the callback stays as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout, RootVisitor};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// // The registers of an interpreter, as addresses.
    /// let registers = Arc::new(Mutex::new([0usize; 16]));
    /// let visited = registers.clone();
    /// mutator.set_root_callback(Some(move |visitor: &mut RootVisitor<'_>| {
    ///     for register in visited.lock().unwrap().iter() {
    ///         visitor.visit(std::ptr::without_provenance(*register));
    ///     }
    /// }))?;
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// registers.lock().unwrap()[3] = object.addr().get();
    /// mutator.gc(Force::NowAndSweep)?;
    /// assert_eq!(heap.stats().heap_objects, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_root_callback(
        &self,
        callback: Option<impl FnMut(&mut RootVisitor<'_>) + Send + 'static>,
    ) -> Result<(), HeapError> {
        if callback::is_inside() {
            return Err(HeapError::Reentrant);
        }
        let boxed = callback.map(|callback| Box::new(callback) as RootCallback);
        // SAFETY: the mutator is active, so no collector reads the callback.
        let old = core::mem::replace(unsafe { &mut *self.record().callback.0.get() }, boxed);
        drop(old);
        Ok(())
    }
}

impl Drop for Mutator {
    fn drop(&mut self) {
        let inner = self.heap.inner();
        if callback::is_inside() {
            // The world may be stopped by this thread, which cannot wait for
            // itself.
            inner.world.abandon(self.record());
            return;
        }
        let left = |mutators: u64| Event::Detached { mutators: mutators.saturating_sub(1) };
        inner.tell_mutator(self.record(), left);
        inner.world.detach(&inner.space, self.record());
    }
}

#[inline(always)]
fn as_pointer(place: Address) -> NonNull<u8> {
    // SAFETY: cells are not at address zero.
    unsafe { NonNull::new_unchecked(place.as_ptr()) }
}
