//! Nothing is left behind: alone in its process, so that the counts are its own.

use mallocgc::heap::meta::{Meta, MetaStat, Slab};
use mallocgc::os::census::Census;

#[test]
#[cfg_attr(mallocgc_asan, ignore = "the sanitizer maps memory of its own")]
fn records_leave_no_mapping_behind() {
    let round = || {
        let meta = Meta::new();
        let mut slab = Slab::<[u64; 4]>::new(MetaStat::Spans);
        for bytes in [8, 60_000, 64 << 10, 1 << 20, 30_000, 70_000, 60_000, 60_000, 60_000] {
            let place = meta.alloc(bytes, 0, MetaStat::Other).unwrap();
            // SAFETY: the place is ours and has so many bytes.
            unsafe { place.write_bytes(1, bytes) };
            slab.alloc(&meta).unwrap();
        }
    };
    round();
    let before = Census::take().unwrap();
    for _ in 0..1000 {
        round();
    }
    let after = Census::take().unwrap();
    assert!(after.mappings <= before.mappings + 2, "{before:?} then {after:?}");
    assert!(after.mapped_bytes <= before.mapped_bytes + (4 << 20), "{before:?} then {after:?}");
    assert_eq!((after.descriptors, after.threads), (before.descriptors, before.threads));
}
