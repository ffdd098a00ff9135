//! What an allocation through the C interface costs, beside malloc's: printed, not
//! asserted.

use mallocgc_capi::alloc::{mallocgc_alloc, mallocgc_site_alloc, mallocgc_site_new};
use mallocgc_capi::error::mallocgc_error as Code;
use mallocgc_capi::heap::{mallocgc_heap_free, mallocgc_heap_new};
use mallocgc_capi::layout::mallocgc_layout_mask;
use mallocgc_capi::mutator::{mallocgc_attach, mallocgc_detach, mallocgc_poll};
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::time::Instant;

unsafe extern "C" {
    fn malloc(bytes: usize) -> *mut c_void;
    fn free(place: *mut c_void);
}

const COUNT: u32 = 20_000_000;

/// The least of five runs, in nanoseconds a call.
fn measure(name: &str, mut run: impl FnMut()) -> f64 {
    let nanos = (0..5).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_nanos() as f64 / f64::from(COUNT)
    });
    let least = nanos.fold(f64::INFINITY, f64::min);
    println!("{name:<24} {least:6.2} ns");
    least
}

#[test]
#[ignore = "a measurement"]
fn print_what_an_allocation_costs() {
    let (mut heap, mut mutator, mut layout, mut site) =
        (null_mut(), null_mut(), null(), null_mut());
    // SAFETY: the calls of a correct program; volatile, so that malloc is not left out.
    unsafe {
        assert_eq!(mallocgc_heap_new(null(), &mut heap), Code::None);
        assert_eq!(mallocgc_attach(heap, &mut mutator), Code::None);
        assert_eq!(mallocgc_layout_mask(heap, 4, &3, &mut layout), Code::None);
        assert_eq!(mallocgc_site_new(mutator, layout, 32, &mut site), Code::None);
        let poll = |at: u32| {
            if at.is_multiple_of(1024) {
                assert_eq!(mallocgc_poll(mutator), Code::None);
            }
        };
        measure("mallocgc_site_alloc", || {
            for at in 0..COUNT {
                mallocgc_site_alloc(mutator, site).cast::<u32>().write_volatile(at);
                poll(at);
            }
        });
        measure("mallocgc_alloc", || {
            for at in 0..COUNT {
                mallocgc_alloc(mutator, layout, 32, 0).cast::<u32>().write_volatile(at);
                poll(at);
            }
        });
        // As much garbage at a time as the heap lets lie between two cycles.
        let mut held = vec![null_mut(); 1 << 17];
        measure("malloc and free", || {
            for at in 0..COUNT {
                let place = &mut held[at as usize % (1 << 17)];
                free(*place);
                *place = malloc(32);
                place.cast::<u32>().write_volatile(at);
            }
        });
        held.iter().for_each(|&place| free(place));
        mallocgc_capi::alloc::mallocgc_site_free(site);
        assert_eq!(mallocgc_detach(mutator), Code::None);
        mallocgc_heap_free(heap);
    }
}
