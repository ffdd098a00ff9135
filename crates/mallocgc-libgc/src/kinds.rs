//! Kinds with descriptors and mark procedures, and lists of many objects.
//!
//! A descriptor says where an object's references are: a length, a bitmap, a
//! procedure of the program, or a word in the object that says so. Lengths and
//! bitmaps of a kind become layouts of ours; the others a trace function each.
//!
//! Protection: tables are behind the lock, and stand still while marking runs.

use crate::alloc::{self, ATOMIC, ATOMIC_UNCOLLECTABLE, NORMAL, UNCOLLECTABLE};
use crate::state::{heap, state};
use crate::{init, lock, roots, say};
use core::ffi::c_void;
use core::ptr::null_mut;
use libc::{c_int, c_uint};
use mallocgc::layout::{TraceFn, Tracer, TypeLayout};
use mallocgc::raw::Layout;

/// Kinds there can be, as in the original.
const MAX_KINDS: usize = 16;
const MAX_PROCS: usize = 64;

const TAG_MASK: usize = 3;
pub const LENGTH: usize = 0;
pub const BITMAP: usize = 1;
pub const PROC: usize = 2;
pub const PER_OBJECT: usize = 3;
/// Added to a per-object descriptor that is found behind the first word.
const INDIRECT_BIAS: isize = 0x10;

/// A kind.
#[derive(Clone, Copy)]
pub struct Kind {
    pub descriptor: usize,
    /// The object's size is added to the descriptor.
    pub adjust: bool,
    pub disclaim: usize,
    pub mark_from_dead: bool,
}

pub type MarkProc =
    unsafe extern "C" fn(*mut usize, *mut c_void, *mut c_void, usize) -> *mut c_void;

/// What a procedure of the program takes for the mark stack, and only ever passes
/// back: it names the tracer that the procedure reports to. Several threads mark.
#[repr(C)]
struct MarkStack {
    tracer: *mut c_void,
    room: [usize; 63],
}

unsafe fn trace_kind<const KIND: usize>(object: *mut u8, bytes: usize, tracer: &mut Tracer<'_>) {
    let kind = state().kinds.as_slice()[KIND];
    let descriptor = kind.descriptor + if kind.adjust { bytes } else { 0 };
    trace_by(object.cast(), bytes, descriptor, tracer);
}

/// Reports the references of an object as a descriptor says.
pub unsafe fn trace_by(
    object: *mut usize,
    bytes: usize,
    mut descriptor: usize,
    tracer: &mut Tracer<'_>,
) {
    // A word in the object may name another such word, but not for ever.
    for _ in 0..4 {
        match descriptor & TAG_MASK {
            LENGTH => {
                for at in 0..descriptor.min(bytes) / 8 {
                    tracer.visit(object.add(at).read() as *const u8);
                }
                return;
            }
            BITMAP => {
                let (mut bits, mut at) = (descriptor & !TAG_MASK, 0);
                while bits != 0 && at < bytes / 8 {
                    if bits >> 63 != 0 {
                        tracer.visit(object.add(at).read() as *const u8);
                    }
                    bits <<= 1;
                    at += 1;
                }
                return;
            }
            PROC => {
                let code = descriptor >> 2;
                let (index, environment) = (code % MAX_PROCS, code / MAX_PROCS);
                let Some(&procedure) = state().procs.as_slice().get(index) else { return };
                let procedure: MarkProc = core::mem::transmute(procedure);
                let tracer = (tracer as *mut Tracer<'_>).cast();
                let mut stack = MarkStack { tracer, room: [0; 63] };
                let limit = (&raw mut stack).add(1);
                procedure(object, (&raw mut stack).cast(), limit.cast(), environment);
                return;
            }
            _ => {
                let signed = descriptor as isize;
                if signed >= 0 {
                    descriptor = *object.byte_add(descriptor - PER_OBJECT);
                } else {
                    let named = *object as *const usize;
                    if named.is_null() {
                        return;
                    }
                    let offset = -(signed + INDIRECT_BIAS - PER_OBJECT as isize);
                    descriptor = *named.byte_offset(offset);
                }
                if descriptor == 0 {
                    return;
                }
            }
        }
    }
}

macro_rules! trace_functions {
    ($($number:literal)*) => { [$(trace_kind::<$number> as TraceFn),*] };
}

const TRACE: [TraceFn; MAX_KINDS] = trace_functions!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

/// The four kinds of the interface, and the marker of descriptors in objects.
pub unsafe fn make_built_in() {
    let plain = Kind { descriptor: 0, adjust: false, disclaim: 0, mark_from_dead: false };
    let normal = Kind { adjust: true, ..plain };
    for (kind, layout) in [
        (plain, Layout::NOSCAN),
        (normal, alloc::any_word()),
        (normal, alloc::any_word()),
        (plain, Layout::NOSCAN),
    ] {
        state().kinds.push(kind);
        state().kind_layouts.push(layout);
    }
    // Number 0 is the original's own, for descriptors of many words.
    state().procs.push(crate::typed::mark_big as *const () as usize);
}

unsafe fn layout_of(kind: usize, descriptor: usize, adjust: bool) -> Layout {
    match (descriptor, adjust) {
        (0, false) => Layout::NOSCAN,
        (0, true) => alloc::any_word(),
        _ => {
            let layout = TypeLayout::trace(0, TRACE[kind]);
            heap().layout(&layout).unwrap_or_else(|_| alloc::any_word())
        }
    }
}

/// An object like another of a described layout.
pub unsafe fn allocate_like(_object: *mut c_void, bytes: usize) -> *mut c_void {
    // Which descriptor the old one has is not known from its cell; where any
    // word may be a reference, none is missed.
    alloc::GC_malloc(bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_new_free_list() -> *mut *mut c_void {
    init::ensure();
    // Only ever passed to `GC_new_kind`.
    alloc::GC_malloc_uncollectable(16).cast()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_new_free_list_inner() -> *mut *mut c_void {
    GC_new_free_list()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_new_kind(
    _list: *mut *mut c_void,
    descriptor: usize,
    adjust: c_int,
    // Every object is cleared.
    _clear: c_int,
) -> c_uint {
    init::ensure();
    let _held = lock::lock();
    let number = state().kinds.len();
    if number == MAX_KINDS {
        say::abort(format_args!("GC_new_kind: there are {MAX_KINDS} kinds already"));
    }
    let layout = layout_of(number, descriptor, adjust != 0);
    state().kinds.push(Kind {
        descriptor,
        adjust: adjust != 0,
        disclaim: 0,
        mark_from_dead: false,
    });
    state().kind_layouts.push(layout);
    number as c_uint
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_new_kind_inner(
    list: *mut *mut c_void,
    descriptor: usize,
    adjust: c_int,
    clear: c_int,
) -> c_uint {
    GC_new_kind(list, descriptor, adjust, clear)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_new_proc(procedure: usize) -> c_uint {
    init::ensure();
    let _held = lock::lock();
    let number = state().procs.len();
    if number == MAX_PROCS {
        say::abort(format_args!("GC_new_proc: there are {MAX_PROCS} procedures already"));
    }
    state().procs.push(procedure);
    number as c_uint
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_new_proc_inner(procedure: usize) -> c_uint {
    GC_new_proc(procedure)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_mark_and_push(
    object: *mut c_void,
    stack: *mut c_void,
    _limit: *mut c_void,
    _source: *mut *mut c_void,
) -> *mut c_void {
    if !stack.is_null() {
        // A procedure gives back what it was given.
        let tracer = (*stack.cast::<MarkStack>()).tracer;
        (*tracer.cast::<Tracer<'_>>()).visit(object.cast::<u8>());
    } else if let Some(marker) = roots::marker() {
        marker.visit(object as usize);
    }
    stack
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_generic_malloc(bytes: usize, kind: c_int) -> *mut c_void {
    match kind as usize {
        ATOMIC => return alloc::GC_malloc_atomic(bytes),
        NORMAL => return alloc::GC_malloc(bytes),
        _ => {}
    }
    init::ensure();
    let kind = kind as usize;
    let (layout, has_disclaim) = {
        let _held = lock::lock();
        let Some(&layout) = state().kind_layouts.as_slice().get(kind) else {
            say::abort(format_args!("GC_generic_malloc: there is no kind {kind}"));
        };
        (layout, state().kinds.as_slice()[kind].disclaim != 0)
    };
    let object = alloc::described(bytes, layout);
    if has_disclaim && !object.is_null() {
        crate::disclaim::register(object as usize, kind);
    }
    object
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc_kind(bytes: usize, kind: c_int) -> *mut c_void {
    GC_generic_malloc(bytes, kind)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc_kind_global(bytes: usize, kind: c_int) -> *mut c_void {
    GC_generic_malloc(bytes, kind)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_generic_malloc_ignore_off_page(
    bytes: usize,
    kind: c_int,
) -> *mut c_void {
    GC_generic_malloc(bytes, kind)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_generic_or_special_malloc(bytes: usize, kind: c_int) -> *mut c_void {
    match kind as usize {
        UNCOLLECTABLE => alloc::GC_malloc_uncollectable(bytes),
        ATOMIC_UNCOLLECTABLE => alloc::GC_malloc_atomic_uncollectable(bytes),
        _ => GC_generic_malloc(bytes, kind),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_kind_and_size(object: *const c_void, bytes: *mut usize) -> c_int {
    let cell = heap().cell(object as usize);
    if !bytes.is_null() {
        *bytes = cell.map_or(0, |cell| cell.bytes);
    }
    let is_kept = {
        let _held = lock::lock();
        state().uncollectable.get(object as usize).is_some()
    };
    let kind = match (cell.map(|cell| cell.words), is_kept) {
        (Some(mallocgc::raw::CellWords::Plain), false) => ATOMIC,
        (Some(mallocgc::raw::CellWords::Plain), true) => ATOMIC_UNCOLLECTABLE,
        (_, true) => UNCOLLECTABLE,
        (_, false) => NORMAL,
    };
    kind as c_int
}

/// Bytes of the objects of one list.
const MANY_BYTES: usize = 4096;

/// A list of objects of `bytes`, linked through their first words.
pub unsafe fn many(bytes: usize, kind: c_int, out: *mut *mut c_void) {
    let bytes = (bytes.max(1) + 15) & !15;
    let count = (MANY_BYTES / bytes).max(1);
    if alloc::list(kind as usize, bytes, count, out) {
        return;
    }
    // The caller's size is exact: nothing is added.
    let extra = alloc::EXTRA_BYTES.load(core::sync::atomic::Ordering::Relaxed);
    let object = GC_generic_malloc(bytes - extra, kind);
    if object.is_null() {
        *out = object;
        return;
    }
    // What it came from is open now, and has more as a rule.
    let mut rest = null_mut();
    if count == 1 || !alloc::list(kind as usize, bytes, count - 1, &raw mut rest) {
        rest = null_mut();
    }
    object.cast::<*mut c_void>().write_volatile(rest);
    out.write_volatile(object);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_generic_malloc_many(bytes: usize, kind: c_int, out: *mut *mut c_void) {
    many(bytes, kind, out);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_describe_type_fn(_kind: c_int, _describe: usize) {
    // For the original's back-trace dumps, which its release builds lack.
}
