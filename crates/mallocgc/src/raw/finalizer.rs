//! Finalizers: functions that run once an object is unreachable.
//!
//! The rules are the origin's. An object has at most one finalizer. When a
//! cycle finds the object unreachable, the association is cleared and the
//! function queued; the object and all it refers to live until it has run,
//! and the function may make the object reachable again. If A refers to B and
//! both have finalizers, A's runs first and B's only once A is gone. Objects
//! that refer to themselves, over however many others, are never finalized.
//! Nothing runs because a heap ends.
//!
//! An object of zero bytes, and what lies in a registered static range, never
//! dies: setting a finalizer there is allowed and does nothing. Tiny objects
//! share blocks and die together; [`Placement`] tells.
//!
//! Not here: the form that checks types (`dynamic`), who runs them (`runner`).

use crate::base::Address;
use crate::heap::error::AllocError;
use crate::heap::object::Found;
use crate::heap::span_class::SpanClassId;
use crate::heap::special::{AttachError, RunBy};
use crate::os::OsError;
use crate::raw::action;
use crate::raw::heap::Inner;
use crate::raw::mutator::Mutator;
use crate::raw::runner::Duty;
use crate::world::callback;
use core::ptr::NonNull;

/// A finalizer as a function and a word of data.
pub type FinalizerFn = unsafe fn(&mut Mutator, NonNull<u8>, usize);

/// Where an object that got a finalizer, cleanup or weak handle lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// In a cell of its own: it dies when it is unreachable.
    Own,
    /// In a block that other tiny objects may share: it dies when all of them
    /// are unreachable. `AllocFlags::NO_TINY` avoids this.
    SharedBlock {
        /// First byte of the block.
        block: NonNull<u8>,
        /// Where in the block.
        offset: usize,
    },
    /// It never dies: a zero-size object, or a registered static range.
    /// Nothing was registered.
    Immortal,
}

/// Why a finalizer was not set.
///
/// The checks are the origin's, in its order; the last variants are ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FinalizerError {
    /// The first argument is nil.
    FirstArgumentNil,
    /// The first argument is no pointer.
    FirstArgumentNotPointer {
        /// Its type.
        argument: &'static str,
    },
    /// The first argument's type points to no type.
    NoElementType {
        /// The type.
        argument: &'static str,
    },
    /// The pointer is in no object of this heap.
    NotAllocated {
        /// The pointer.
        address: Address,
    },
    /// The pointer points into an object, and not at its begin.
    NotAtBeginning {
        /// The pointer.
        address: Address,
        /// Where the object begins.
        object: Address,
    },
    /// The second argument is no function.
    NotAFunction {
        /// Its type.
        finalizer: &'static str,
    },
    /// The finalizer takes any number of arguments.
    Variadic {
        /// The first argument's type.
        argument: &'static str,
        /// The finalizer's type.
        finalizer: &'static str,
    },
    /// The finalizer takes not one argument but another number.
    ParameterCount {
        /// The first argument's type.
        argument: &'static str,
        /// The finalizer's type.
        finalizer: &'static str,
        /// How many it takes.
        count: usize,
    },
    /// The finalizer's parameter cannot be assigned the first argument.
    NotAssignable {
        /// The first argument's type.
        argument: &'static str,
        /// The finalizer's type.
        finalizer: &'static str,
        /// The parameter's type.
        parameter: &'static str,
    },
    /// The object has a finalizer.
    AlreadySet {
        /// The object.
        object: Address,
    },
    /// The thread is inside a callback of a heap.
    Reentrant,
    /// There is no memory for the record.
    OutOfMemory(AllocError),
    /// The system gave no thread to run finalizers.
    NoThread(OsError),
}

impl core::fmt::Display for FinalizerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("set_finalizer: ")?;
        match self {
            Self::FirstArgumentNil => f.write_str("first argument is nil"),
            Self::FirstArgumentNotPointer { argument } => {
                write!(f, "first argument is {argument}, not a pointer")
            }
            Self::NoElementType { argument } => {
                write!(f, "first argument's type {argument} points to no type")
            }
            Self::NotAllocated { address } => {
                write!(f, "pointer {address:?} is in no allocated object")
            }
            Self::NotAtBeginning { address, object } => {
                write!(f, "pointer {address:?} is not at the begin of the object at {object:?}")
            }
            Self::NotAFunction { finalizer } => {
                write!(f, "second argument is {finalizer}, not a function")
            }
            Self::Variadic { argument, finalizer } => {
                write!(f, "cannot pass {argument} to finalizer {finalizer}, which is variadic")
            }
            Self::ParameterCount { argument, finalizer, count } => {
                write!(
                    f,
                    "cannot pass {argument} to finalizer {finalizer}, which takes {count} arguments"
                )
            }
            Self::NotAssignable { argument, finalizer, parameter } => write!(
                f,
                "cannot pass {argument} to finalizer {finalizer}: it is not assignable to {parameter}"
            ),
            Self::AlreadySet { object } => {
                write!(f, "the object at {object:?} has a finalizer already")
            }
            Self::Reentrant => f.write_str("called from inside a callback"),
            Self::OutOfMemory(error) => write!(f, "{error}"),
            Self::NoThread(error) => write!(f, "no thread to run finalizers: {error}"),
        }
    }
}

impl std::error::Error for FinalizerError {}

/// Where a pointer points.
pub(crate) enum Located {
    Object(Found),
    /// Nowhere that ever dies.
    Immortal,
}

/// Whether a pointer into an object will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interior {
    None,
    /// Of a tiny block only.
    Tiny,
    Any,
}

impl Inner {
    /// What a pointer points at or into; `None` for neither an object nor
    /// something immortal.
    #[inline]
    pub(crate) fn locate(&self, address: Address) -> Option<Located> {
        match self.space.find_object(address) {
            Some(found) => Some(Located::Object(found)),
            None => self.is_immortal(address).then_some(Located::Immortal),
        }
    }

    #[cold]
    fn is_immortal(&self, address: Address) -> bool {
        address == self.zero_base
            || self.roots.contains(address)
            || crate::raw::threads::lock(&self.statics)
                .iter()
                .any(|&(start, bytes)| address.offset_from(start) < bytes)
    }

    /// Whether an object's cell is a block of tiny objects.
    #[inline]
    pub(crate) fn is_tiny(&self, found: &Found) -> bool {
        self.space.span(found.span).class() == SpanClassId::TINY
    }

    /// Where a place in an object lies.
    #[inline]
    pub(crate) fn placement(&self, found: &Found, address: Address) -> Placement {
        if !self.is_tiny(found) {
            return Placement::Own;
        }
        let block = NonNull::new(found.object.as_ptr()).expect("objects are not at zero");
        Placement::SharedBlock { block, offset: address.offset_from(found.object) }
    }

    /// As [`placement`](Inner::placement), of something just registered.
    #[inline]
    pub(crate) fn count_placement(&self, found: &Found, address: Address) -> Placement {
        let placement = self.placement(found, address);
        if placement != Placement::Own {
            self.space.specials.count_shared();
        }
        placement
    }
}

impl Mutator {
    /// Lets `finalizer` run once the object is unreachable, on the heap's
    /// thread or in [`run_finalizers`](Mutator::run_finalizers). It gets the
    /// object, which lives for the call; it may allocate, collect, and set
    /// finalizers. A panic is contained and counted. While it waits for
    /// something, it should do so inside [`Mutator::blocking`].
    ///
    /// What the closure captures must not keep the heap alive, or the heap
    /// lives until the finalizer has run: handles, roots, weak handles.
    ///
    /// The object must begin at `object`; only tiny objects may lie inside
    /// their block.
    ///
    /// # Errors
    ///
    /// [`FinalizerError`]; nothing has been set then.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    /// use std::time::Duration;
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mut mutator = heap.attach()?;
    /// let file = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// let (sender, closed) = std::sync::mpsc::channel();
    /// mutator.set_finalizer(file, move |_, _file| sender.send("closed").unwrap())?;
    /// // No root holds it: this is its end.
    /// mutator.gc(Force::Now)?;
    /// assert!(mutator.wait_finalizers(Duration::from_secs(60)));
    /// assert_eq!(closed.recv()?, "closed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn set_finalizer(
        &self,
        object: NonNull<u8>,
        finalizer: impl FnOnce(&mut Mutator, NonNull<u8>) + Send + 'static,
    ) -> Result<Placement, FinalizerError> {
        self.set_finalizer_checked(object, Interior::Tiny, finalizer)
    }

    /// As [`set_finalizer`](Mutator::set_finalizer), with a function and a
    /// word that is passed to it.
    ///
    /// # Safety
    ///
    /// `finalizer` may be called once, on another thread, with a mutator of
    /// this heap, `object` and `data`.
    ///
    /// # Errors
    ///
    /// As `set_finalizer`.
    pub unsafe fn set_finalizer_fn(
        &self,
        object: NonNull<u8>,
        finalizer: FinalizerFn,
        data: usize,
    ) -> Result<Placement, FinalizerError> {
        self.set_finalizer(object, move |mutator, object| {
            // SAFETY: the caller's promise.
            unsafe { finalizer(mutator, object, data) }
        })
    }

    #[inline]
    pub(crate) fn set_finalizer_checked(
        &self,
        object: NonNull<u8>,
        interior: Interior,
        finalizer: impl FnOnce(&mut Mutator, NonNull<u8>) + Send + 'static,
    ) -> Result<Placement, FinalizerError> {
        if callback::is_inside() {
            return Err(FinalizerError::Reentrant);
        }
        let address = Address::from_ptr(object.as_ptr());
        let Some(found) = self.find_for_finalizer(address, interior)? else {
            return Ok(Placement::Immortal);
        };
        self.heap().ensure_runner(Duty::Finalizers).map_err(FinalizerError::NoThread)?;
        let payload = action::pack(move |mutator: &mut Mutator, object: *mut u8| {
            finalizer(mutator, NonNull::new(object).expect("finalized objects are not null"));
        });
        let inner = self.inner();
        match inner.space.specials.set_finalizer(&inner.space, &found, address, payload) {
            Ok(()) => Ok(inner.count_placement(&found, address)),
            Err(error) => {
                // SAFETY: packed above, and attached nowhere.
                unsafe { action::discard(payload) };
                Err(match error {
                    AttachError::AlreadySet => FinalizerError::AlreadySet { object: address },
                    AttachError::Memory(error) => {
                        FinalizerError::OutOfMemory(AllocError::from_meta(0, error))
                    }
                })
            }
        }
    }

    /// Takes the finalizer off an object; whether it had one. Afterwards
    /// another can be set.
    ///
    /// # Errors
    ///
    /// When the pointer is not one that could have a finalizer.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// mutator.set_finalizer(object, |_, _| unreachable!())?;
    /// assert!(mutator.clear_finalizer(object)?);
    /// assert!(!mutator.clear_finalizer(object)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear_finalizer(&self, object: NonNull<u8>) -> Result<bool, FinalizerError> {
        self.clear_finalizer_checked(object, Interior::Tiny)
    }

    pub(crate) fn clear_finalizer_checked(
        &self,
        object: NonNull<u8>,
        interior: Interior,
    ) -> Result<bool, FinalizerError> {
        if callback::is_inside() {
            return Err(FinalizerError::Reentrant);
        }
        let address = Address::from_ptr(object.as_ptr());
        let Some(found) = self.find_for_finalizer(address, interior)? else { return Ok(false) };
        let inner = self.inner();
        let specials = &inner.space.specials;
        let payload = specials.clear_finalizer(&inner.space, &found, address, RunBy::Thread);
        // User code, so not under the lock.
        // SAFETY: finalizers carry packed closures; this one is ours now.
        payload.inspect(|&payload| unsafe { action::discard(payload) });
        Ok(payload.is_some())
    }

    /// Where the object lies that a pointer points at or into.
    pub(crate) fn placement_of(&self, address: Address) -> Placement {
        match self.inner().locate(address) {
            Some(Located::Object(found)) => self.inner().placement(&found, address),
            _ => Placement::Immortal,
        }
    }

    /// The object a finalizer is for; `None` if it is immortal.
    #[inline]
    pub(crate) fn find_for_finalizer(
        &self,
        address: Address,
        interior: Interior,
    ) -> Result<Option<Found>, FinalizerError> {
        let found = match self.inner().locate(address) {
            None => return Err(FinalizerError::NotAllocated { address }),
            Some(Located::Immortal) => return Ok(None),
            Some(Located::Object(found)) => found,
        };
        let inside = found.object != address;
        let allowed = match interior {
            Interior::None => false,
            Interior::Tiny => self.inner().is_tiny(&found),
            Interior::Any => true,
        };
        if inside && !allowed {
            return Err(FinalizerError::NotAtBeginning { address, object: found.object });
        }
        Ok(Some(found))
    }
}
