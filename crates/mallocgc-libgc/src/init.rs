//! Setting up: the heap, the signal, the main thread, the environment.
//!
//! Happens on the first call that needs it, from whatever thread. It touches
//! little: address range is reserved and not filled, and no thread is started.
//!
//! Protection: the lock; `IS_READY` is set at its end.

use crate::alloc::EXTRA_BYTES;
use crate::collect::Client;
use crate::settings::MARKERS;
use crate::state::{IS_READY, heap, is_ready, set_heap, state};
use crate::{alloc, fork, kinds, lock, say, stop, threads, tls};
use core::ffi::CStr;
use core::sync::atomic::Ordering::{Relaxed, Release};
use libc::c_int;
use mallocgc::raw::{Config, Heap};

/// Growth over what is live that starts a cycle, in percent: with the default
/// divisor of 3 about the original's.
const GROWTH_PERCENT: u32 = 100;
/// Bytes below which no cycle starts, at 100 percent.
const MIN_HEAP_BYTES: usize = 2 << 20;

static CLIENT: Client = Client;

#[inline]
pub unsafe fn ensure() {
    if !is_ready() {
        init();
    }
}

unsafe fn setting(name: &CStr) -> Option<usize> {
    let value = libc::getenv(name.as_ptr());
    if value.is_null() {
        return None;
    }
    let text = CStr::from_ptr(value).to_bytes();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut number = 0usize;
    for &byte in &text[..digits] {
        number = number.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
    }
    Some(match text.get(digits) {
        Some(b'k' | b'K') => number.saturating_mul(1 << 10),
        Some(b'm' | b'M') => number.saturating_mul(1 << 20),
        Some(b'g' | b'G') => number.saturating_mul(1 << 30),
        _ => number,
    })
}

#[cold]
unsafe fn init() {
    let held = lock::lock();
    if is_ready() || HEAP_IN_MAKING {
        return;
    }
    HEAP_IN_MAKING = true;
    if setting(c"GC_ALL_INTERIOR_POINTERS").is_some() {
        set!(GC_all_interior_pointers, 1);
    }
    if setting(c"GC_DONT_GC").is_some() {
        set!(GC_dont_gc, 1);
    }
    if setting(c"GC_FIND_LEAK").is_some() {
        set!(GC_find_leak, 1);
    }
    let divisor = setting(c"GC_FREE_SPACE_DIVISOR").filter(|&divisor| divisor != 0);
    if let Some(divisor) = divisor {
        set!(GC_free_space_divisor, divisor);
    }
    crate::statistics::PRINT.store(
        usize::from(setting(c"GC_PRINT_STATS").is_some() || setting(c"MALLOCGC_TRACE").is_some()),
        Relaxed,
    );
    crate::statistics::open_log();
    let limit = setting(c"MALLOCGC_LIMIT").or(setting(c"GC_MAXIMUM_HEAP_SIZE"));
    let limit = limit.or((state().max_heap_bytes != 0).then_some(state().max_heap_bytes));
    let profile_rate = match crate::profile::init() {
        true => setting(c"MALLOCGC_PROFILE_RATE").unwrap_or(crate::profile::RATE),
        false => 0,
    };
    let config = Config {
        profile_rate: profile_rate as u64,
        gc_percent: Some(percent()),
        min_heap_bytes: MIN_HEAP_BYTES.max(setting(c"GC_INITIAL_HEAP_SIZE").unwrap_or(0)),
        heap_limit_bytes: limit.unwrap_or(usize::MAX),
        workers: setting(c"GC_MARKERS").unwrap_or(MARKERS.load(Relaxed)),
        background: false,
        stop_limit: std::time::Duration::from_secs(60),
        clobber: if setting(c"MALLOCGC_ZEAL").is_some() { 0x5a5a_5a5a_5a5a_5a5a } else { 0 },
        ..Config::default()
    };
    let heap = match Heap::new(config) {
        Ok(heap) => heap,
        Err(error) => say::abort(format_args!("no heap can be made: {error}")),
    };
    heap.set_conservative(&CLIENT);
    let interior = read!(GC_all_interior_pointers) != 0;
    heap.ambiguous().set_interior(interior);
    EXTRA_BYTES.store(usize::from(interior), Relaxed);
    let (base, bytes) = heap.range();
    set_heap(heap);
    set!(GC_least_plausible_heap_addr, base.as_ptr());
    set!(GC_greatest_plausible_heap_addr, base.add(bytes).as_ptr());
    let mutator = crate::state::heap().attach();
    let mutator = match mutator {
        Ok(mutator) => mutator,
        Err(error) => say::abort(format_args!("no thread can be registered: {error}")),
    };
    if let Err(error) = alloc::make_classes(&mutator) {
        say::abort(format_args!("no size class can be made: {error}"));
    }
    drop(mutator);
    kinds::make_built_in();
    threads::make_key();
    stop::install();
    fork::install();
    libc::atexit(at_exit);
    // Release: pairs with the Acquire in `is_ready`.
    IS_READY.store(true, Release);
    if tls::current().is_null() {
        let (lowest, base) = threads::stack_bounds();
        threads::register(lowest, base);
    }
    crate::roots::refresh();
    drop(held);
    if read!(GC_find_leak) != 0 {
        libc::atexit(report_leaks);
    }
}

static mut HEAP_IN_MAKING: bool = false;

/// The divisor of the interface, as growth: 3 is the default's.
pub unsafe fn percent() -> u32 {
    let divisor = read!(GC_free_space_divisor).max(1);
    ((3 * GROWTH_PERCENT as usize / divisor) as u32).clamp(5, 400)
}

/// Applies a changed divisor.
pub unsafe fn pace_again() {
    if is_ready() {
        heap().set_gc_percent(Some(percent()));
    }
}

extern "C" fn at_exit() {
    // SAFETY: the process ends; whoever still runs may be stopped as ever.
    unsafe { crate::statistics::at_exit() };
}

extern "C" fn report_leaks() {
    // SAFETY: as above.
    unsafe { crate::collect::GC_gcollect() };
}

// --- the interface -------------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_init() {
    ensure();
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_is_init_called() -> c_int {
    c_int::from(is_ready())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_deinit() {
    // The heap lives as long as the process.
}
