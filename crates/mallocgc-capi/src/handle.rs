//! What the handles of C point to, and how arguments are checked.

use crate::error::{Outcome, mallocgc_error as Code};
use crate::finalizer::{Chains, Popped};
use crate::layout::LayoutHandles;
pub(crate) use crate::slot::lock;
use crate::slot::{checked, give, handle, take};
use crate::stack::Stacks;
use mallocgc::raw::{Heap, Mutator, RootVisitor};
use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// A heap: memory, the objects in it, its settings and statistics.
pub struct mallocgc_heap {
    pub(crate) heap: Heap,
    pub(crate) context: Arc<Context>,
}

/// What this interface keeps of a heap beside it. It does not keep the heap, so
/// that finalizers can hold it.
#[derive(Default)]
pub(crate) struct Context {
    pub(crate) layouts: Mutex<LayoutHandles>,
    pub(crate) chains: Mutex<Chains>,
    pub(crate) stacks: Mutex<Stacks>,
    pub(crate) popped: Mutex<Popped>,
}

/// What every mutator handle begins with, for the inline functions and for code that a program generates.
///
/// The window of a site lies `window_offset` bytes behind `windows`. All three change only in
/// calls of this library on the mutator's thread.
#[repr(C)]
pub struct mallocgc_mutator_head {
    /// Where the windows are; while the mutator is busy, some that are always empty.
    pub windows: Cell<*mut c_char>,
    /// Not 0 while mallocgc_pre_write has something to do.
    pub marking: Cell<*const u32>,
    /// Not 0 while mallocgc_poll has something to do. Other threads write it.
    pub poll: Cell<*const u32>,
}

impl mallocgc_mutator_head {
    fn new(mutator: &Mutator) -> mallocgc_mutator_head {
        let head = mallocgc_mutator_head {
            windows: Cell::default(),
            marking: Cell::new(std::ptr::null()),
            poll: Cell::new(std::ptr::null()),
        };
        head.show(mutator);
        head
    }

    /// The mutator can be used.
    fn show(&self, mutator: &Mutator) {
        self.windows.set(mutator.windows_address().cast());
        self.marking.set(mutator.marking_word_address());
        self.poll.set(mutator.poll_word_address());
    }

    /// It cannot: everything must be a call, which says so.
    fn hide(&self) {
        self.windows.set((&raw const NO_WINDOWS.0).cast_mut().cast());
        self.marking.set(&raw const BUSY);
        self.poll.set(&raw const BUSY);
    }
}

/// Windows without a cell: zeroes, which take no memory until they are read. Never written, since an
/// empty window is not.
static NO_WINDOWS: NoWindows = NoWindows(UnsafeCell::new([0; WINDOWS_BYTES]));

#[repr(C, align(64))]
struct NoWindows(UnsafeCell<[u8; WINDOWS_BYTES]>);

// SAFETY: nobody writes it. The cell only keeps it out of memory that cannot be written, which
// would be two megabytes of the library's file.
unsafe impl Sync for NoWindows {}

/// The windows of a mutator end before so many bytes.
const WINDOWS_BYTES: usize = 2 << 20;

/// The marking and the poll word of a mutator that cannot be used.
static BUSY: u32 = 1;

/// One thread's side of a heap.
// It begins with its head. In this form the generator of the header does not see the attribute, and
// declares a structure of which nothing else is known.
#[cfg_attr(all(), repr(C))]
pub struct mallocgc_mutator {
    head: mallocgc_mutator_head,
    /// The mutator; null while it is in use further up the stack.
    pub(crate) active: Cell<*mut Mutator>,
    pub(crate) context: Arc<Context>,
    pub(crate) own: Arc<OwnRoots>,
    /// Whether the program has attached it, or somebody lends it for a call.
    pub(crate) tenure: Tenure,
    thread: usize,
}

/// Whose a mutator is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tenure {
    Attached,
    Lent,
}

handle!(mallocgc_heap, 1);
handle!(mallocgc_mutator, 2, |mutator| {
    mutator.active.set(std::ptr::null_mut());
    mutator.head.hide();
});

const _: () = assert!(std::mem::offset_of!(mallocgc_mutator, head) == 0);

/// A mutator's own roots: the part of its stack that is scanned, and what the program visits.
#[derive(Default)]
pub(crate) struct OwnRoots {
    /// Behind the stack's oldest word; 0 when it is not scanned.
    pub(crate) base: AtomicUsize,
    /// Its newest word at a boundary.
    pub(crate) top: AtomicUsize,
    /// The program's callback.
    pub(crate) roots: Mutex<Option<(RootsFn, Data)>>,
    /// Whether the mutator visits these.
    pub(crate) installed: AtomicBool,
}

/// Receives roots in a root callback. Valid during the call.
pub struct mallocgc_visitor {
    _private: [u8; 0],
}

pub(crate) type RootsFn = unsafe extern "C" fn(*mut mallocgc_visitor, *mut c_void);

pub(crate) fn call_roots(function: RootsFn, data: Data, visitor: &mut RootVisitor<'_>) {
    // SAFETY: the program's function, with the word it gave.
    unsafe { function(std::ptr::from_mut(visitor).cast(), data.get()) };
}

thread_local! {
    static HERE: u8 = const { 0 };
    /// The innermost handle whose mutator is in use further up this stack.
    static INNERMOST: Cell<*const mallocgc_mutator> = const { Cell::new(std::ptr::null()) };
}

/// A number that tells living threads apart.
fn thread() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl mallocgc_mutator {
    /// What a handle for a mutator leads to.
    ///
    /// # Safety
    ///
    /// `mutator` is one, and stays so until the handle is retired.
    pub(crate) unsafe fn new(
        mutator: *mut Mutator,
        context: &Arc<Context>,
        tenure: Tenure,
    ) -> mallocgc_mutator {
        // SAFETY: `exclusive` keeps the handle while it is named there.
        let outer = unsafe { INNERMOST.get().as_ref() };
        let own = match outer {
            // Its boundaries lie deeper in the same stack.
            Some(outer) if Arc::ptr_eq(&outer.context, context) => outer.own.clone(),
            _ => Arc::default(),
        };
        // SAFETY: the caller's promise.
        let head = mallocgc_mutator_head::new(unsafe { &*mutator });
        let active = Cell::new(mutator);
        let context = context.clone();
        mallocgc_mutator { head, active, context, own, tenure, thread: thread() }
    }

    /// The mutator.
    pub(crate) fn get(&self) -> Outcome<&Mutator> {
        if self.thread != thread() {
            return Err(Code::WrongThread);
        }
        // SAFETY: not null: it is alive, and nobody has it exclusively.
        unsafe { self.active.get().as_ref() }.ok_or(Code::Busy)
    }

    /// Calls `body` with the mutator at a boundary: the stack is scanned if that
    /// was asked for.
    pub(crate) fn at_boundary<R>(&self, body: impl FnOnce(&Mutator) -> R) -> Outcome<R> {
        let mutator = self.get()?;
        Ok(self.with_stack(|| body(mutator)))
    }

    /// As [`at_boundary`](Self::at_boundary), with the mutator for the body alone.
    pub(crate) fn exclusive<R>(&self, body: impl FnOnce(&mut Mutator) -> R) -> Outcome<R> {
        self.get()?;
        let mutator = self.active.replace(std::ptr::null_mut());
        self.head.hide();
        let outer = INNERMOST.replace(self);
        let _back = Back { handle: self, mutator, outer };
        // SAFETY: `active` is null meanwhile, so this is the only reference.
        let mutator = unsafe { &mut *mutator };
        Ok(self.with_stack(|| body(mutator)))
    }

    /// Lets the mutator visit its own roots.
    pub(crate) fn install_roots(&self) -> Outcome {
        let own = self.own.clone();
        let visit = move |visitor: &mut RootVisitor<'_>| own.visit(visitor);
        self.get()?.set_root_callback(Some(visit))?;
        // Relaxed: this thread's.
        self.own.installed.store(true, Relaxed);
        Ok(())
    }

    fn with_stack<R>(&self, body: impl FnOnce() -> R) -> R {
        // Relaxed, here and below: read by a collector while this thread is stopped.
        if self.own.base.load(Relaxed) == 0 {
            return body();
        }
        crate::registers::with_registers(|top| {
            let before = self.own.top.swap(top, Relaxed);
            let result = body();
            self.own.top.store(before, Relaxed);
            result
        })
    }
}

/// A handle for a mutator that is lent for a call of the program's.
pub(crate) struct Lent(*mut mallocgc_mutator);

impl Lent {
    pub(crate) fn new(mutator: &mut Mutator, context: &Arc<Context>) -> Lent {
        // SAFETY: the handle is retired below, while the mutator is borrowed by the caller.
        Lent(give(unsafe { mallocgc_mutator::new(mutator, context, Tenure::Lent) }))
    }

    /// What the program gets.
    pub(crate) fn handle(&self) -> *mut mallocgc_mutator {
        self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: made above. A program that gave it back has been refused.
        drop(unsafe { take(self.0) });
    }
}

/// Puts a mutator back, also when a panic passes.
struct Back<'h> {
    handle: &'h mallocgc_mutator,
    mutator: *mut Mutator,
    outer: *const mallocgc_mutator,
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        INNERMOST.set(self.outer);
        // SAFETY: the only reference, `exclusive`'s, has ended.
        self.handle.head.show(unsafe { &*self.mutator });
        self.handle.active.set(self.mutator);
    }
}

impl OwnRoots {
    /// Visits what lies between top and base, and what the program's callback visits.
    fn visit(&self, visitor: &mut RootVisitor<'_>) {
        crate::stack::visit_stack(visitor, self.top.load(Relaxed), self.base.load(Relaxed));
        let roots = *lock(&self.roots);
        if let Some((roots, data)) = roots {
            call_roots(roots, data, visitor);
        }
    }
}

/// Why a mutator cannot be used, of which no more was known than that.
#[cold]
pub(crate) fn unusable(mutator: *const mallocgc_mutator) -> Code {
    // SAFETY: as for every function.
    unsafe { checked(mutator) }.map_or_else(|code| code, |_| Code::Busy)
}

/// Where a result goes.
///
/// # Safety
///
/// It is null or may be written.
pub(crate) unsafe fn store<T>(place: *mut T, value: T) -> Outcome {
    if place.is_null() {
        return Err(Code::BadArgument);
    }
    // SAFETY: the caller's promise, and not null.
    unsafe { place.write(value) };
    Ok(())
}

/// A place for a result, asked for before there is one to lose.
pub(crate) fn not_null<T>(place: *mut T) -> Outcome {
    if place.is_null() { Err(Code::BadArgument) } else { Ok(()) }
}

/// A program's word, which goes where its function goes.
#[derive(Clone, Copy)]
pub(crate) struct Data(pub(crate) *mut c_void);

// SAFETY: the header says on which threads functions are called with it.
unsafe impl Send for Data {}
// SAFETY: as for `Send`.
unsafe impl Sync for Data {}

impl Data {
    /// The word. (A method, so that closures capture all of this.)
    pub(crate) fn get(self) -> *mut c_void {
        self.0
    }
}
