//! C trace functions as the library takes them.
//!
//! A layout keeps one function pointer, of Rust's calling convention, and no word beside
//! it. So there are [`FUNCTIONS`] functions compiled here, each of which calls
//! the C function in its place of a table.
//!
//! Protection: a place is claimed once, by an exchange, and never changes.

use mallocgc::layout::{TraceFn, Tracer};
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Distinct C trace functions of a process.
pub(crate) const FUNCTIONS: usize = ROWS * ROWS;
const ROWS: usize = 16;

/// What a trace function reports references to, with mallocgc_trace. Valid
/// during the call.
pub struct mallocgc_tracer {
    _private: [u8; 0],
}

/// Reports every reference of the object at `object`, of which it may read
/// `size` bytes, to `tracer`. See mallocgc_layout_trace.
pub type mallocgc_trace_fn =
    Option<unsafe extern "C" fn(object: *mut c_void, size: usize, tracer: *mut mallocgc_tracer)>;

pub(crate) type CTraceFn = unsafe extern "C" fn(*mut c_void, usize, *mut mallocgc_tracer);

static TABLE: [AtomicUsize; FUNCTIONS] = [const { AtomicUsize::new(0) }; FUNCTIONS];

/// Calls the C function of place `ROW * ROWS + COLUMN`.
unsafe fn call<const ROW: usize, const COLUMN: usize>(
    object: *mut u8,
    size: usize,
    tracer: &mut Tracer<'_>,
) {
    // Acquire: pairs with the Release in `rust_function`.
    let place = TABLE[ROW * ROWS + COLUMN].load(Ordering::Acquire);
    // SAFETY: the place was filled with such a function before this one was handed out.
    let function = unsafe { std::mem::transmute::<usize, CTraceFn>(place) };
    // SAFETY: the promise of `TraceFn`, which who registered the function gave as well.
    unsafe { function(object.cast(), size, std::ptr::from_mut(tracer).cast()) }
}

macro_rules! rows {
    ($($row:literal)*) => { [$( rows!(@ $row) ),*] };
    (@ $row:literal) => {
        [
            call::<$row, 0>, call::<$row, 1>, call::<$row, 2>, call::<$row, 3>,
            call::<$row, 4>, call::<$row, 5>, call::<$row, 6>, call::<$row, 7>,
            call::<$row, 8>, call::<$row, 9>, call::<$row, 10>, call::<$row, 11>,
            call::<$row, 12>, call::<$row, 13>, call::<$row, 14>, call::<$row, 15>,
        ]
    };
}

static CALLS: [[TraceFn; ROWS]; ROWS] = rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

/// The function that calls a C function; `None` when there are too many.
pub(crate) fn rust_function(function: CTraceFn) -> Option<TraceFn> {
    let wanted = function as usize;
    for (index, place) in TABLE.iter().enumerate() {
        // Release: pairs with the Acquire in `call`. Acquire on failure: who finds its
        // function there hands it out as if it had stored it.
        let before = place.compare_exchange(0, wanted, Ordering::Release, Ordering::Acquire);
        if before.is_ok() || before == Err(wanted) {
            return Some(CALLS[index / ROWS][index % ROWS]);
        }
    }
    None
}

/// Reports a reference to the tracer. Null and addresses outside the heap are ignored; any
/// address in an object will do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_trace(tracer: *mut mallocgc_tracer, reference: *const c_void) {
    // SAFETY: the pointer came from `call`, whose tracer lives for the call.
    let tracer = unsafe { &mut *tracer.cast::<Tracer<'_>>() };
    tracer.visit(reference.cast::<u8>());
}
