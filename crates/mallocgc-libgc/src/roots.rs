//! Roots: stacks, data segments, thread-local blocks, and what the program adds.
//!
//! The loader is asked for its segments before threads are stopped, since it
//! answers under a lock of its own. A library may be unloaded between; so once the
//! threads stand, each range of a library is looked at with a system call that
//! fails when the range is not mapped. Then nobody can unload any more.
//!
//! Words of data must point where words of objects must; words of stacks,
//! registers and thread-local blocks may point anywhere into an object.
//!
//! Protection: the lock.

use crate::state::{State, state};
use crate::threads::Thread;
use crate::{data, init, lock, tls};
use core::ffi::{c_char, c_void};

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use libc::c_int;
use mallocgc::raw::AmbiguousMarker;

/// A range of data.
#[derive(Clone, Copy)]
pub struct Segment {
    pub start: usize,
    pub end: usize,
    /// It may be unmapped behind our back.
    pub loaded: bool,
    /// It was there when the heap was made: most likely it stays to the end.
    pub early: bool,
}

struct Walk {
    state: *mut State,
    first: bool,
    own: usize,
}

const PT_TLS: u32 = 7;

unsafe extern "C" fn on_object(
    info: *mut libc::dl_phdr_info,
    bytes: usize,
    walk: *mut c_void,
) -> c_int {
    let walk = &mut *walk.cast::<Walk>();
    let state = &mut *walk.state;
    let info = &*info;
    let counts = (info.dlpi_adds, info.dlpi_subs);
    let is_program = core::mem::replace(&mut walk.first, false);
    if is_program {
        if bytes >= 32 && counts == state.loads && state.loaded.len() != 0 {
            return 1;
        }
        state.loads = counts;
        state.loaded.truncate(0);
        state.tls.truncate(0);
    }
    let headers = core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
    let base = info.dlpi_addr as usize;
    let spans = |address: usize, header: &libc::Elf64_Phdr| {
        let start = base + header.p_vaddr as usize;
        address.wrapping_sub(start) < header.p_memsz as usize
    };
    if headers.iter().any(|header| header.p_type == libc::PT_LOAD && spans(walk.own, header)) {
        // This library keeps no reference in its data.
        return 0;
    }
    for header in headers.iter().filter(|header| header.p_type == PT_TLS) {
        state.tls.push((info.dlpi_tls_modid, header.p_memsz as usize));
    }
    if !is_program && read!(GC_no_dls) != 0
        || is_program && state.roots_cleared && read!(GC_no_dls) != 0
    {
        return 0;
    }
    let filter = data::HAS_STATIC_ROOTS.load(Relaxed);
    let read_only = headers.iter().find(|header| header.p_type == libc::PT_GNU_RELRO);
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W == 0 {
            continue;
        }
        let start = base + header.p_vaddr as usize;
        let end = start + header.p_memsz as usize;
        if filter != 0 {
            let filter: unsafe extern "C" fn(*const c_char, *mut c_void, usize) -> c_int =
                core::mem::transmute(filter);
            if filter(info.dlpi_name, start as *mut c_void, end - start) == 0 {
                continue;
            }
        }
        // What is read-only after relocation names nothing of the heap.
        let start = match read_only {
            Some(header) if spans(start, header) => {
                base + (header.p_vaddr + header.p_memsz) as usize
            }
            _ => start,
        };
        if start < end {
            let start = start.next_multiple_of(8);
            let known = state.early.as_slice().contains(&(start, end));
            let early = known || !state.early_known;
            if early && !known {
                state.early.push((start, end));
            }
            state.loaded.push(Segment { start, end, loaded: !is_program, early });
        }
    }
    0
}

/// Whether the loader's lock can be taken.
static LOADER: AtomicU32 = AtomicU32::new(FREE);
const FREE: u32 = 0;
/// To be found out.
const UNKNOWN: u32 = 1;
/// Another thread had it when this process was forked. What was loaded then is all
/// there will be: opening a library needs the lock, too.
const LOST: u32 = 2;

/// In the child of a fork: nobody knows whether another thread had the loader's lock.
/// The list of what is loaded is that of before the fork.
pub fn doubt_loader() {
    // Relaxed, here and below: the process has one thread.
    if LOADER.load(Relaxed) == FREE {
        LOADER.store(UNKNOWN, Relaxed);
    }
}

/// How long the loader's lock is waited for, in a process of one thread.
const PROBE_MILLIS: u64 = 500;
const PROBE_STACK_BYTES: usize = 64 << 10;

/// Whether the loader answers. Asked by a process on this one's memory, which can be
/// killed if it waits for ever.
unsafe fn loader_answers() -> bool {
    static ANSWERED: AtomicU32 = AtomicU32::new(0);
    unsafe extern "C" fn no_more(_: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
        1
    }
    extern "C" fn ask(_: *mut c_void) -> c_int {
        // SAFETY: the callback looks at nothing.
        unsafe { libc::dl_iterate_phdr(Some(no_more), core::ptr::null_mut()) };
        ANSWERED.store(1, Relaxed);
        lock::wake(&ANSWERED, 1);
        0
    }
    ANSWERED.store(0, Relaxed);
    let stack = crate::table::map(PROBE_STACK_BYTES);
    let top = stack.add(PROBE_STACK_BYTES).cast();
    // It has this thread's thread pointer; until it is gone, this thread does nothing
    // but wait, in system calls.
    let child = libc::clone(ask, top, libc::CLONE_VM, core::ptr::null_mut());
    if child > 0 {
        let mut waited = 0;
        while ANSWERED.load(Relaxed) == 0 && waited < PROBE_MILLIS {
            lock::wait(&ANSWERED, 0, 10);
            waited += 10;
        }
        if ANSWERED.load(Relaxed) == 0 {
            libc::kill(child, libc::SIGKILL);
        }
        let mut status = 0;
        while libc::waitpid(child, &raw mut status, libc::__WALL) < 0
            && *libc::__errno_location() == libc::EINTR
        {}
    }
    libc::munmap(stack.cast(), PROBE_STACK_BYTES);
    child < 0 || ANSWERED.load(Relaxed) != 0
}

/// Asks the loader what is loaded. Before threads are stopped.
pub unsafe fn refresh() {
    if LOADER.load(Relaxed) == UNKNOWN {
        LOADER.store(if loader_answers() { FREE } else { LOST }, Relaxed);
    }
    if LOADER.load(Relaxed) == LOST {
        return;
    }
    static OWN: u8 = 0;
    let mut walk = Walk { state: state(), first: true, own: &raw const OWN as usize };
    libc::dl_iterate_phdr(Some(on_object), (&raw mut walk).cast());
    state().early_known = true;
}

/// Whether a range is mapped, as of this moment. The call changes nothing.
unsafe fn is_mapped(start: usize, end: usize) -> bool {
    let page = 4096;
    let from = start & !(page - 1);
    libc::syscall(libc::SYS_msync, from, end - from, libc::MS_ASYNC) == 0
}

/// Visits the part of a range that is not excluded.
unsafe fn visit_data(state: &State, marker: &mut dyn AmbiguousMarker, start: usize, end: usize) {
    let mut from = start;
    while from < end {
        // The next excluded range, and where visiting goes on behind it.
        let mut stop = (end, end);
        for &(low, high) in state.excluded.as_slice() {
            if high > from && low < stop.0 {
                stop = (low.max(from), high);
            }
        }
        if from < stop.0 {
            marker.visit_object_range(from, stop.0);
        }
        from = stop.1.max(from + 8);
    }
}

/// Whether every page of a range can be read. Asked of the system, which answers for pages
/// that would raise a signal: a thread that stands may have mapped half of a library where
/// another was, and a file's mapping may go on behind the file's end.
unsafe fn is_readable(start: usize, end: usize) -> bool {
    let (mut page, mut byte) = (start & !4095, 0u8);
    let own = libc::getpid();
    while page < end {
        let to = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let from = libc::iovec { iov_base: page.max(start) as *mut c_void, iov_len: 1 };
        if libc::process_vm_readv(own, &raw const to, 1, &raw const from, 1, 0) != 1 {
            return false;
        }
        page += 4096;
    }
    true
}

/// Visits all data, the added ranges too.
pub unsafe fn visit_segments(marker: &mut dyn AmbiguousMarker) {
    let state = state();
    for segment in state.loaded.as_slice() {
        let is_there = |segment: &Segment| match segment.early {
            true => is_mapped(segment.start, segment.end),
            false => is_readable(segment.start, segment.end),
        };
        if !segment.loaded || is_there(segment) {
            visit_data(state, marker, segment.start, segment.end);
        }
    }
    for segment in state.added.as_slice() {
        visit_data(state, marker, segment.start, segment.end);
    }
}

/// Visits the stack of a thread that stands, and its thread-local blocks.
pub unsafe fn visit_thread(marker: &mut dyn AmbiguousMarker, thread: &Thread) {
    let mut sp = thread.sp.load(Relaxed);
    if sp == 0 {
        return;
    }
    let own_base = if thread.is_main { read!(GC_stackbottom) as usize } else { thread.base.get() };
    let mut section = thread.sections.get();
    while !section.is_null() {
        visit_stack(marker, thread, sp, (*section).base);
        sp = (*section).sp;
        section = (*section).previous;
    }
    visit_stack(marker, thread, sp, own_base);
    visit_blocks(marker, thread);
}

/// A stack pointer so far below the base is on another stack.
const STACK_MAX: usize = 1 << 30;

unsafe fn visit_stack(marker: &mut dyn AmbiguousMarker, thread: &Thread, sp: usize, base: usize) {
    let is_inside = sp <= base && sp >= thread.lowest && base - sp < STACK_MAX;
    if is_inside {
        return marker.visit_range(sp & !7, base);
    }
    // On a coroutine's stack, or a signal's: that one as far as its mapping
    // goes, and all of the thread's own, of which the hot end is not known.
    if let Some(end) = mapping_end(sp) {
        marker.visit_range(sp & !7, end);
    }
    if thread.lowest != 0 && is_mapped(thread.lowest, base) {
        marker.visit_range(thread.lowest, base);
    }
}

/// The end of the readable mapping that an address lies in, from the system's
/// list, read without allocating.
unsafe fn mapping_end(address: usize) -> Option<usize> {
    let fd = libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
    if fd < 0 {
        return None;
    }
    let (mut buffer, mut found) = ([0u8; 1024], None);
    // A line begins with two numbers, `low-high`; `field` says which is read.
    let (mut field, mut numbers) = (0, [0usize; 2]);
    'read: loop {
        let count = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
        if count <= 0 {
            break;
        }
        for &byte in &buffer[..count as usize] {
            match (byte, field) {
                (b'\n', _) => (field, numbers) = (0, [0; 2]),
                (b'-', 0) => field = 1,
                (b' ', 1) => {
                    field = 2;
                    if (numbers[0]..numbers[1]).contains(&address) {
                        found = Some(numbers[1]);
                        break 'read;
                    }
                }
                (_, 0 | 1) => {
                    let digit = (byte as char).to_digit(16).unwrap_or(0) as usize;
                    numbers[field] = numbers[field] << 4 | digit;
                }
                _ => {}
            }
        }
    }
    libc::close(fd);
    found
}

/// Bytes of the thread's descriptor behind its pointer: values of keys.
const DESCRIPTOR_BYTES: usize = 2304;

/// Visits the thread-local blocks by the thread's vector: number of entries,
/// then an entry of two words for each module.
unsafe fn visit_blocks(marker: &mut dyn AmbiguousMarker, thread: &Thread) {
    let tp = thread.tp;
    if is_mapped(tp, tp + DESCRIPTOR_BYTES) {
        marker.visit_range(tp, tp + DESCRIPTOR_BYTES);
    }
    let vector = *((tp + 8) as *const usize);
    if vector == 0 {
        return;
    }
    let entries = *((vector - 16) as *const usize);
    for &(module, bytes) in state().tls.as_slice() {
        if module == 0 || module > entries {
            continue;
        }
        let block = *((vector + module * 16) as *const usize);
        if block != 0 && block != usize::MAX && is_mapped(block, block + bytes) {
            marker.visit_range(block, block + bytes);
        }
    }
}

/// The marker of the running cycle, for what hooks of the program push.
pub static mut MARKER: Option<*mut (dyn AmbiguousMarker + 'static)> = None;

/// Calls `act` with `MARKER` set.
pub unsafe fn with_marker(marker: &mut dyn AmbiguousMarker, act: impl FnOnce()) {
    let marker: *mut (dyn AmbiguousMarker + '_) = marker;
    // SAFETY: taken back before the marker's lifetime ends.
    MARKER = Some(core::mem::transmute::<
        *mut (dyn AmbiguousMarker + '_),
        *mut (dyn AmbiguousMarker + 'static),
    >(marker));
    act();
    MARKER = None;
}

/// The running cycle's marker, on the collecting thread.
pub unsafe fn marker() -> Option<&'static mut dyn AmbiguousMarker> {
    if !lock::is_mine() {
        return None;
    }
    let marker = MARKER;
    marker.map(|marker| &mut *marker)
}

/// Visits the roots of everything.
pub unsafe fn visit_all(marker: &mut dyn AmbiguousMarker) {
    let own = tls::current();
    let mut at = state().threads;
    while !at.is_null() {
        visit_thread(marker, &*at);
        at = (*at).next;
    }
    debug_assert!(own.is_null() || (*own).sp.load(Relaxed) != 0);
    visit_segments(marker);
    state().uncollectable.for_each(|object, ()| marker.visit(object));
    crate::finalize::visit_roots(marker);
    let hook = read!(GC_push_other_roots);
    if let Some(hook) = hook {
        with_marker(marker, || hook());
    }
}

// --- the interface -------------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_add_roots(start: *mut c_void, end: *mut c_void) {
    init::ensure();
    let _held = lock::lock();
    let (start, end) = ((start as usize).next_multiple_of(8), end as usize & !7);
    if start >= end {
        return;
    }
    let known =
        state().added.as_slice().iter().any(|range| range.start <= start && end <= range.end);
    if !known {
        // A range given twice, the second time longer, is one range.
        state().added.retain(|range| range.start != start);
        state().added.push(Segment { start, end, loaded: false, early: false });
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_remove_roots(start: *mut c_void, end: *mut c_void) {
    let (start, end) = ((start as usize).next_multiple_of(8), end as usize & !7);
    let _held = lock::lock();
    state().added.retain(|range| !(start <= range.start && range.end <= end));
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_clear_roots() {
    init::ensure();
    let _held = lock::lock();
    let state = state();
    state.added.truncate(0);
    state.loaded.truncate(0);
    state.roots_cleared = true;
    state.loads = (0, 0);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_exclude_static_roots(start: *mut c_void, end: *mut c_void) {
    init::ensure();
    let _held = lock::lock();
    if start < end {
        state().excluded.push((start as usize & !7, (end as usize).next_multiple_of(8)));
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_clear_exclusion_table() {
    let _held = lock::lock();
    state().excluded.truncate(0);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_is_tmp_root(place: *mut c_void) -> c_int {
    let place = place as usize;
    let _held = lock::lock();
    let mut loaded = state().loaded.as_slice().iter();
    c_int::from(loaded.any(|range| range.loaded && (range.start..range.end).contains(&place)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_has_static_roots_callback(filter: usize) {
    data::HAS_STATIC_ROOTS.store(filter, Relaxed);
    let _held = lock::lock();
    state().loads = (0, 0);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_push_all(start: *mut c_void, end: *mut c_void) {
    if let Some(marker) = marker() {
        marker.visit_object_range(start as usize, end as usize);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_push_all_eager(start: *mut c_void, end: *mut c_void) {
    if let Some(marker) = marker() {
        marker.visit_range(start as usize, end as usize);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_push_conditional(start: *mut c_void, end: *mut c_void, _all: c_int) {
    // Every cycle is a full one.
    GC_push_all(start, end);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_push_finalizer_structures() {
    // They are roots of every cycle, whatever hooks are set.
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_push_other_roots(hook: data::Hook) {
    set!(GC_push_other_roots, hook);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_push_other_roots() -> data::Hook {
    read!(GC_push_other_roots)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_mark_bit(object: *const c_void) {
    if let Some(marker) = marker() {
        marker.mark_only(object as usize);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_clear_mark_bit(_object: *const c_void) {
    // Only the original's collector calls it: for its free lists.
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_is_marked(object: *const c_void) -> c_int {
    match marker() {
        Some(marker) => c_int::from(marker.is_marked(object as usize)),
        // Between cycles what is there has survived, or is new.
        None => c_int::from(
            crate::state::is_ready() && crate::state::heap().cell(object as usize).is_some(),
        ),
    }
}

type ReachableFn = unsafe extern "C" fn(*mut c_void, usize, *mut c_void);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_enumerate_reachable_objects_inner(
    visit: ReachableFn,
    data: *mut c_void,
) {
    init::ensure();
    let _held = lock::lock();
    if let Some(pause) = crate::state::heap().pause() {
        crate::alloc::drop_free_cells();
        pause.for_each_object(|object, bytes| visit(object as *mut c_void, bytes, data));
    }
}
