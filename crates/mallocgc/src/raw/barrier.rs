//! The write barrier, in its forms: one slot, a range of slots, a part of an
//! object.
//!
//! While marking runs beside the mutators, what a reference leads to is noted
//! before the reference is overwritten, unless it is marked already. So the
//! marker comes to everything that could be reached when marking began, in
//! whatever order it and the mutators go. What is stored needs no note: a
//! mutator has it from the heap, where it was reachable then, or has allocated
//! it since. `docs/design/concurrent.md` has the argument.
//!
//! Outside marking a barrier is a load and a branch. In it nothing is allocated
//! but now and then a buffer for the notes, and nothing waits.
//!
//! Not here: the buffers (`world::shade`).

use crate::base::claim::{MarkingCycle, ReadClaim};
use crate::base::sync::{AtomicPtr, Ordering};
use crate::base::{Address, WORD_SIZE};
use crate::layout::{Beside, Reader, Tracer};
use crate::raw::mutator::Mutator;
use crate::world::callback;
use Ordering::{Relaxed, Release};
use core::ops::Range;
use core::ptr::NonNull;

impl Mutator {
    /// Stores a reference into an object.
    ///
    /// The first stores into an object that was allocated since the last
    /// boundary may do without: it holds nothing that could be overwritten.
    ///
    /// # Safety
    ///
    /// `slot` is a reference word of a live object of this heap, or of a
    /// registered root range; `value` is null, or points into an object of
    /// this heap, or outside it.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap, TypeLayout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let pair = heap.layout(&TypeLayout::mask(2, 0b11))?;
    /// let (object, other) = (mutator.new_object(pair)?, mutator.new_object(pair)?);
    /// // SAFETY: both words of a pair are references.
    /// unsafe {
    ///     let second = object.cast::<*mut u8>().add(1);
    ///     mutator.write(second.as_ptr(), other.as_ptr());
    ///     assert_eq!(second.read(), other.as_ptr());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub unsafe fn write(&self, slot: *mut *mut u8, value: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { self.pre_write(slot) };
        // SAFETY: the caller's promise. Release: pairs with the Acquire in the
        // marker's `load`, so that it knows of a newborn object as such.
        unsafe { AtomicPtr::from_ptr(slot) }.store(value, Release);
    }

    /// The barrier alone, before a reference is overwritten by other means: with
    /// a Release store of a word, if the heap is marked beside its mutators.
    ///
    /// # Safety
    ///
    /// As for [`write`](Mutator::write). The store follows before the next
    /// boundary.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap, TypeLayout};
    /// use std::sync::atomic::{AtomicPtr, Ordering};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let cell = heap.layout(&TypeLayout::mask(1, 1))?;
    /// let (place, other) = (mutator.new_object(cell)?, mutator.new_object(cell)?);
    /// let slot = place.as_ptr().cast::<*mut u8>();
    /// // SAFETY: a reference word of an object that is in hand.
    /// let old = unsafe {
    ///     mutator.pre_write(slot);
    ///     AtomicPtr::from_ptr(slot).swap(other.as_ptr(), Ordering::AcqRel)
    /// };
    /// assert!(old.is_null());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub unsafe fn pre_write(&self, slot: *mut *mut u8) {
        if self.is_marking() {
            // SAFETY: the caller's promise. Relaxed: the address is all that
            // is needed, and not what lies there.
            let old = unsafe { AtomicPtr::from_ptr(slot) }.load(Relaxed);
            if !old.is_null() {
                self.shade(old.addr());
            }
        }
    }

    /// The barrier for `count` slots that follow each other.
    ///
    /// # Safety
    ///
    /// As for [`pre_write`](Mutator::pre_write), for each of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap, TypeLayout};
    /// use std::sync::atomic::{AtomicPtr, Ordering};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let row = heap.layout(&TypeLayout::repeat(1, 1))?;
    /// let array = mutator.new_array(row, 8)?.cast::<AtomicPtr<u8>>();
    /// // SAFETY: eight references.
    /// unsafe {
    ///     mutator.pre_write_range(array.cast().as_ptr(), 8);
    ///     for index in 0..8 {
    ///         array.add(index).as_ref().store(std::ptr::null_mut(), Ordering::Release);
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub unsafe fn pre_write_range(&self, slots: *mut *mut u8, count: usize) {
        if self.is_marking() {
            for index in 0..count {
                // SAFETY: the caller's promise.
                unsafe { self.pre_write(slots.add(index)) };
            }
        }
    }

    /// Copies `count` references from one place to another; the two may overlap.
    ///
    /// # Safety
    ///
    /// As for [`write`](Mutator::write), for each slot of `to`. `from` is as
    /// many readable words.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap, TypeLayout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let cells = heap.layout(&TypeLayout::repeat(1, 1))?;
    /// let array = mutator.new_array(cells, 8)?;
    /// let slots = array.as_ptr().cast::<*mut u8>();
    /// // SAFETY: reference words of an array that is in hand.
    /// unsafe {
    ///     mutator.write(slots, array.as_ptr());
    ///     mutator.write_range(slots.add(1), slots, 7);
    ///     assert_eq!(slots.add(1).read(), array.as_ptr());
    ///     assert!(slots.add(2).read().is_null());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn write_range(&self, to: *mut *mut u8, from: *const *mut u8, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.pre_write_range(to, count) };
        let copy = |index: usize| {
            // SAFETY: the caller's promise. Relaxed: the object is seen already
            // by who copies. Release: as in `write`.
            unsafe {
                let value = AtomicPtr::from_ptr(from.add(index).cast_mut()).load(Relaxed);
                AtomicPtr::from_ptr(to.add(index)).store(value, Release);
            }
        };
        if to.cast_const() <= from {
            (0..count).for_each(copy);
        } else {
            (0..count).rev().for_each(copy);
        }
    }

    /// The barrier for the references in some bytes of an object, wherever its
    /// layout has them, before these bytes are overwritten. Ask for the part of a
    /// large array that is to be written, and not for all of it.
    ///
    /// Where a function says where the references are, all of the object is meant,
    /// and what it keeps elsewhere: the object may be changed from then on until the
    /// next boundary, in any way. If the marker is reading the object this moment,
    /// the mutator waits for the end of that.
    ///
    /// # Safety
    ///
    /// As for [`pre_write`](Mutator::pre_write), for each reference in the bytes.
    /// `object` is an object's first byte.
    ///
    /// # Panics
    ///
    /// When `object` is in no object of this heap.
    pub unsafe fn pre_write_object(&self, object: NonNull<u8>, bytes: Range<usize>) {
        if self.is_marking() {
            // SAFETY: the caller's promise.
            unsafe { self.shade_object(object, bytes) };
        }
    }

    /// # Safety
    ///
    /// As for [`pre_write_object`](Mutator::pre_write_object).
    #[cold]
    unsafe fn shade_object(&self, object: NonNull<u8>, bytes: Range<usize>) {
        let space = &self.inner().space;
        let address = Address::from_ptr(object.as_ptr());
        let found = space.find_object(address);
        let found = found.unwrap_or_else(|| panic!("{address:?} is in no object"));
        let layout = space.layout(space.layout_of(&found));
        if let (Some(function), true, Some(cycle)) =
            (layout.trace_function(), layout.has_claims(), space.marking_cycle())
        {
            let span = space.span(found.span);
            return space.object_claim(span, found.index).read_or_wait(|| {
                // As for cells: a newborn object is not read.
                if space.is_newborn(span, found.index) {
                    return;
                }
                let object = found.object.as_usize();
                // SAFETY: whoever registered the function promised that it reads objects
                // of this layout, which this is; its mutator is here, and the marker
                // keeps away.
                self.note_references(cycle, &|tracer| unsafe {
                    function.trace(object, found.bytes, tracer);
                });
            });
        }
        let to = bytes.end.min(found.bytes) / WORD_SIZE;
        layout.for_each_reference(bytes.start / WORD_SIZE, to, |word| {
            let slot = found.object.add(word * WORD_SIZE).as_ptr::<*mut u8>();
            // SAFETY: a reference word of the object, by its layout.
            unsafe { self.pre_write(slot) };
        });
    }

    /// The barrier before a value is changed that is behind a claim: the first time
    /// in a cycle, what it refers to is noted. `read` reads the value for its
    /// references.
    #[inline(always)]
    pub(crate) fn before_change(&self, claim: &ReadClaim, read: &dyn Fn(&mut Tracer<'_>)) {
        if let Some(cycle) = self.space().marking_cycle()
            && !claim.is_read(cycle)
        {
            self.before_first_change(cycle, claim, read);
        }
    }

    #[cold]
    #[inline(never)]
    fn before_first_change(
        &self,
        cycle: MarkingCycle,
        claim: &ReadClaim,
        read: &dyn Fn(&mut Tracer<'_>),
    ) {
        claim.read_or_wait(cycle, || {
            // What a newborn object holds the mutator has had in hand since the flip,
            // and the marker does not read it.
            if !self.space().is_in_newborn(Address::from_ptr(core::ptr::from_ref(claim))) {
                self.note_references(cycle, read);
            }
        });
    }

    /// Changes a small value whose references the marker reads under the lock of
    /// its place, while marking runs. `read` reads it for its references, `write` changes it.
    #[cold]
    #[inline(never)]
    pub(crate) fn change_apart(
        &self,
        place: Address,
        read: &dyn Fn(&mut Tracer<'_>),
        write: &mut dyn FnMut(),
    ) {
        let Some(cycle) = self.space().marking_cycle() else { return write() };
        self.note_references(cycle, read);
        let _held = self.space().stripes.hold(place);
        write();
    }

    fn note_references(&self, cycle: MarkingCycle, read: &dyn Fn(&mut Tracer<'_>)) {
        // A trace function must not enter the heap.
        let _inside = callback::enter();
        let mut note = |value: Address| self.shade(value.as_usize());
        let beside = Beside::new(cycle, Reader::Owner, &self.space().stripes);
        read(&mut Tracer::beside(&mut note, beside));
    }

    /// Notes a reference for the marker, unless what it leads to is marked.
    #[cold]
    #[inline(never)]
    pub(crate) fn shade(&self, value: usize) {
        if self.space().may_be_unmarked(Address::new(value))
            && !self.record().shades.try_push(value)
        {
            self.shade_slow(value);
        }
    }

    #[cold]
    #[inline(never)]
    fn shade_slow(&self, value: usize) {
        let inner = self.inner();
        self.record().shades.push(value, &inner.world.shades, inner.space.meta());
    }

    /// The address of the marking word, for generated code: a word of 32 bits
    /// that is not zero while the barrier must be called. It changes while no
    /// mutator is between boundaries.
    pub fn marking_word_address(&self) -> *const u32 {
        core::ptr::from_ref(&self.space().marking).cast()
    }
}
