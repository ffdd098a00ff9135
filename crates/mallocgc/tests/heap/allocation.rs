//! Small objects: sizes, alignment, zeroing, the ways to allocate.

use crate::support::memory::{fill, is_filled, link, number, reference};
use crate::support::{self, find};
use mallocgc::base::round_up_size;
use mallocgc::layout::{Tracer, TypeLayout};
use mallocgc::raw::{AllocError, AllocFlags, Force, Layout};

/// Cell sizes of the origin, as published; class 0 is large objects.
const ORIGIN_SIZES: [usize; 68] = [
    0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320,
    352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792,
    2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728,
    10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672,
    32768,
];

fn origin_round_up(size: usize) -> usize {
    *ORIGIN_SIZES.iter().find(|&&class| class >= size).expect("small sizes")
}

#[test]
fn zero_bytes_have_one_address_and_cost_nothing() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::mask(1, 1)).unwrap();
    let base = heap.zero_base();
    let before = heap.stats();
    for layout in [Layout::NOSCAN, node] {
        for flags in [
            AllocFlags::NONE,
            AllocFlags::NO_ZERO,
            AllocFlags::NO_TINY,
            AllocFlags::SAFEPOINT,
            AllocFlags::NO_ZERO | AllocFlags::SAFEPOINT,
        ] {
            assert_eq!(m.mallocgc(0, layout, flags), Ok(base), "{layout:?} {flags:?}");
        }
        assert_eq!(m.mallocgc_aligned(0, 64, layout, AllocFlags::NONE), Ok(base));
        assert_eq!(m.new_array(layout, 0), Ok(base));
    }
    assert_eq!(m.raw_mem(0), Ok(base));
    let empty = heap.layout(&TypeLayout::noscan(0)).unwrap();
    assert_eq!(m.new_object(empty), Ok(base));
    let after = heap.stats();
    assert_eq!((after.mallocs, after.heap_alloc), (before.mallocs, before.heap_alloc));
    // It is no object, may be a root, and survives collections.
    assert_eq!(find(&heap, base), None);
    m.push_root(base);
    let root = heap.root(base).unwrap();
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(root.get(), base);
    assert_eq!(m.mallocgc(0, node, AllocFlags::NONE), Ok(base));
    assert_ne!(support::heap().zero_base(), base, "every heap has its own");
}

#[test]
fn scannable_memory_is_always_zeroed() {
    // The origin dies of a missing type; here it cannot be missing, and asking
    // for old bytes in place of references is an error.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::mask(2, 2)).unwrap();
    for size in [8, 16, 100, 5000, 100_000] {
        let made = m.mallocgc(size, node, AllocFlags::NO_ZERO);
        assert_eq!(made, Err(AllocError::UnzeroedReferences), "{size} bytes");
    }
    assert!(m.mallocgc(16, node, AllocFlags::NONE).is_ok());
}

#[test]
fn a_layout_of_another_heap_is_refused() {
    let (heap, other) = (support::heap(), support::heap());
    let m = heap.attach().unwrap();
    let foreign = other.layout(&TypeLayout::mask(2, 2)).unwrap();
    let foreign_array = other.layout(&TypeLayout::repeat(2, 2)).unwrap();
    let flags = AllocFlags::NONE;
    assert_eq!(m.mallocgc(16, foreign, flags), Err(AllocError::WrongHeap));
    assert_eq!(m.mallocgc(100_000, foreign, flags), Err(AllocError::WrongHeap));
    assert_eq!(m.mallocgc_aligned(16, 16, foreign, flags), Err(AllocError::WrongHeap));
    assert_eq!(m.new_object(foreign), Err(AllocError::WrongHeap));
    assert_eq!(m.new_array(foreign_array, 7), Err(AllocError::WrongHeap));
    assert!(matches!(m.alloc_class(16, foreign), Err(AllocError::WrongHeap)));
    let own = m.alloc_class(16, Layout::NOSCAN).unwrap();
    let elsewhere = other.attach().unwrap();
    assert_eq!(elsewhere.alloc(own), Err(AllocError::WrongHeap));
}

#[test]
fn usable_size_is_the_table_for_every_small_size() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for size in 1..=32_768 {
        let expected = origin_round_up(size);
        assert_eq!(round_up_size(size), expected, "{size} bytes");
        let flags = AllocFlags::NO_ZERO | AllocFlags::NO_TINY;
        let object = m.mallocgc(size, Layout::NOSCAN, flags).unwrap();
        let found = find(&heap, object).unwrap();
        assert_eq!((found.base.as_usize(), found.bytes), (number(object), expected), "{size}");
        if size % 4096 == 0 {
            m.gc(Force::Now).unwrap();
        }
    }
}

#[test]
fn round_up_size_at_the_edges() {
    assert_eq!(round_up_size(0), 0);
    assert_eq!(round_up_size(32_769), 40_960);
    assert_eq!(round_up_size((1 << 40) + 1), (1 << 40) + 8192);
    // Rounding would overflow: the size itself, as in the origin.
    for size in [usize::MAX, usize::MAX - 1, usize::MAX - 8190] {
        assert_eq!(round_up_size(size), size);
    }
    assert_eq!(round_up_size(usize::MAX - 8191), usize::MAX - 8191);
}

#[test]
fn cells_of_a_fresh_span_ascend() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for size in ORIGIN_SIZES.into_iter().filter(|&size| size >= 16) {
        let class = m.alloc_class(size, Layout::NOSCAN).unwrap();
        let mut last = number(m.alloc(class).unwrap());
        for _ in 0..(16_384 / size).clamp(1, 100) {
            let next = number(m.alloc(class).unwrap());
            // A chunk ends the run only at a span's end.
            assert!(next >= last + size, "{size}: {last:#x} {next:#x}");
            last = next;
        }
    }
}

#[test]
fn alignment_is_that_of_the_class() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::repeat(1, 1)).unwrap();
    for size in ORIGIN_SIZES.into_iter().skip(1) {
        // Powers of two to themselves, others to their largest factor.
        let align = (1usize << size.trailing_zeros()).min(8192);
        for _ in 0..20 {
            let flags = AllocFlags::NO_TINY;
            let object = m.mallocgc(size, Layout::NOSCAN, flags).unwrap();
            assert!(number(object).is_multiple_of(align), "{object:?} of {size} bytes");
        }
        let object = m.mallocgc(size, node, AllocFlags::NONE).unwrap();
        assert!(number(object).is_multiple_of(8), "{object:?} of {size} bytes");
    }
}

#[test]
fn any_alignment_up_to_4096_is_kept() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::mask(1, 1)).unwrap();
    for shift in 0..=12 {
        let align = 1usize << shift;
        for size in [1, 2, 3, 7, 8, 9, 15, 16, 24, 40, 100, 513, 4097, 20_000, 32_768, 70_000] {
            for _ in 0..3 {
                for layout in [Layout::NOSCAN, node] {
                    let size = if layout.is_noscan() { size } else { size.max(8) };
                    let object = m.mallocgc_aligned(size, align, layout, AllocFlags::NONE).unwrap();
                    assert!(number(object).is_multiple_of(align), "{object:?}: {size}, {align}");
                    assert!(is_filled(object, size, 0));
                    assert!(find(&heap, object).is_some());
                    fill(object, if layout.is_noscan() { size } else { 0 }, 0xff);
                }
            }
        }
    }
    for align in [0, 3, 12, 8192, 1 << 20, usize::MAX] {
        let made = m.mallocgc_aligned(16, align, Layout::NOSCAN, AllocFlags::NONE);
        assert_eq!(made, Err(AllocError::BadAlign { align }));
    }
}

#[test]
fn objects_of_rare_layouts_lie_behind_a_word() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for size in 1..=600usize {
        // Each size has a layout of its own, so that all are rare.
        let mut bits = vec![0; 10];
        bits[size / 64] = 1 << (size % 64);
        let layout = heap.layout(&TypeLayout::mask_bits(640, &bits).unwrap()).unwrap();
        let usable = match size {
            ..=512 => round_up_size(size + 8) - 8,
            _ => round_up_size(size),
        };
        for _ in 0..3 {
            let object = m.mallocgc(size, layout, AllocFlags::NONE).unwrap();
            let found = find(&heap, object).unwrap();
            assert_eq!((found.base.as_usize(), found.bytes), (number(object), usable), "{size}");
            assert!(usable >= size);
            assert!(number(object).is_multiple_of(8), "{object:?} of {size} bytes");
        }
    }
}

#[test]
fn objects_of_rare_layouts_have_the_alignment_asked_for() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for shift in 0..=12 {
        let align = 1usize << shift;
        for (index, size) in [1, 8, 9, 16, 24, 40, 100, 256, 504, 512, 513].into_iter().enumerate()
        {
            // A layout of its own for each, with and without objects that share spans.
            let word = 20 * shift + index;
            let mut bits = vec![0; 5];
            bits[word / 64] = 1 << (word % 64);
            for more in [1, 2] {
                let shape = TypeLayout::repeat_bits(320, &bits, more, &[1]).unwrap();
                let layout = heap.layout(&shape).unwrap();
                for _ in 0..3 {
                    if more == 2 {
                        m.mallocgc(size, layout, AllocFlags::NONE).unwrap();
                    }
                    let object = m.mallocgc_aligned(size, align, layout, AllocFlags::NONE).unwrap();
                    assert!(number(object).is_multiple_of(align), "{object:?}: {size}, {align}");
                    assert!(find(&heap, object).unwrap().bytes >= size);
                }
            }
        }
    }
}

#[test]
fn reused_memory_is_zeroed() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let sizes: Vec<usize> = ORIGIN_SIZES.into_iter().skip(2).chain([40_960, 1 << 20]).collect();
    for round in 0..4 {
        for &size in &sizes {
            for step in 0..(200_000 / size).clamp(3, 400) {
                let object = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                assert!(is_filled(object, size, 0), "round {round}: {object:?} of {size} bytes");
                fill(object, size, 0xff);
                if step % 3 == 0 {
                    // Free cells lie between taken ones.
                    m.push_root(object);
                }
            }
        }
        m.truncate_roots(m.root_count() / 2);
        m.gc(if round % 2 == 0 { Force::Now } else { Force::NowAndSweep }).unwrap();
    }
}

#[test]
fn a_cell_is_zeroed_to_its_end() {
    // What the marker may read behind the object's end must be null.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for size in [17, 33, 100, 520, 1030, 9000, 33_000] {
        for _ in 0..3 {
            for _ in 0..50 {
                let object = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                assert!(is_filled(object, round_up_size(size), 0), "{size} bytes");
                fill(object, round_up_size(size), 0xaa);
            }
            m.gc(Force::NowAndSweep).unwrap();
        }
    }
}

#[test]
fn unzeroed_memory_is_for_pointer_free_objects() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for size in [1, 15, 16, 100, 512, 513, 4000, 32_768, 100_000] {
        let object = m.raw_mem(size).unwrap();
        let found = find(&heap, object).unwrap();
        assert!(found.bytes >= size);
        // Full of what looks like references: nothing is kept by them.
        let target = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        if size >= 16 {
            for index in 0..size / 8 {
                crate::support::memory::set_word(object, index, number(target));
            }
        }
        m.push_root(object);
        m.gc(Force::Now).unwrap();
        assert!(find(&heap, object).is_some());
        assert_eq!(find(&heap, target), None, "{size} raw bytes kept an object");
    }
}

#[test]
fn a_new_object_takes_size_and_references_from_its_layout() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let node = TypeLayout::mask(3, 0b100).named("Node");
    let layout = heap.layout(&node).unwrap();
    assert_eq!(layout.size_bytes(), 24);
    let object = m.new_object(layout).unwrap();
    let child = m.new_object(layout).unwrap();
    link(&m, object, 2, child);
    m.push_root(object);
    m.gc(Force::Now).unwrap();
    assert_eq!(reference(object, 2), Some(child));
    assert!(find(&heap, child).is_some());
    let plain = heap.layout(&TypeLayout::noscan(100)).unwrap();
    assert!(plain.is_noscan());
    assert_eq!(find(&heap, m.new_object(plain).unwrap()).unwrap().bytes, 112);
    // Equal layouts are one layout.
    assert!(!heap.layout(&TypeLayout::mask(3, 0b100)).unwrap().is_noscan());
}

#[test]
fn a_new_array_refuses_what_overflows_and_allocates_nothing() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::mask(3, 0b100).array_of().unwrap()).unwrap();
    let plain = heap.layout(&TypeLayout::noscan(24)).unwrap();
    let before = heap.stats();
    for layout in [node, plain] {
        for count in [usize::MAX, usize::MAX / 24 + 1, usize::MAX / 2] {
            let made = m.new_array(layout, count);
            assert_eq!(made, Err(AllocError::TooLarge { bytes: usize::MAX }), "{count}");
        }
        // The product fits, no heap is so large.
        for count in [usize::MAX / 24, 1 << 50, (1 << 47) / 24] {
            let made = m.new_array(layout, count);
            assert_eq!(made, Err(AllocError::TooLarge { bytes: count * 24 }), "{count}");
        }
    }
    let after = heap.stats();
    assert_eq!(before.mallocs, after.mallocs);
    assert_eq!(before.heap_inuse, after.heap_inuse);
    for count in [1, 2, 10, 1000, 10_000] {
        let array = m.new_array(node, count).unwrap();
        assert!(find(&heap, array).unwrap().bytes >= count * 24);
        let last = m.new_object(plain).unwrap();
        link(&m, array, 3 * count - 1, last);
        m.push_root(array);
        m.gc(Force::Now).unwrap();
        assert!(find(&heap, last).is_some(), "the last of {count} elements is not traced");
    }
}

#[test]
fn a_new_array_of_a_layout_that_does_not_repeat_is_refused() {
    fn trace_nothing(_: *mut u8, _: usize, _: &mut Tracer<'_>) {}
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let vector = TypeLayout::repeat_bits(2, &[0], 1, &[1]).unwrap();
    let split = TypeLayout::repeat(3, 1).with_size_bytes(16).unwrap();
    for shape in [TypeLayout::mask(2, 1), vector, split, TypeLayout::trace(16, trace_nothing)] {
        let layout = heap.layout(&shape).unwrap();
        let before = heap.stats();
        for count in [2, 3, 1000, usize::MAX] {
            assert_eq!(m.new_array(layout, count), Err(AllocError::NotRepeating), "{shape:?}");
        }
        let after = heap.stats();
        assert_eq!((before.mallocs, before.heap_inuse), (after.mallocs, after.heap_inuse));
        // One is an object, and none has no elements.
        assert_eq!(m.new_array(layout, 0), Ok(heap.zero_base()));
        assert!(m.new_array(layout, 1).is_ok());
        // Layouts of the same references and another size are one in the heap.
        let array = heap.layout(&shape.array_of().unwrap()).unwrap();
        assert!(m.new_array(array, 3).is_ok());
        assert_eq!(m.new_array(layout, 3), Err(AllocError::NotRepeating));
    }
    for shape in [TypeLayout::noscan(24), TypeLayout::conservative(24), TypeLayout::repeat(2, 1)] {
        assert!(m.new_array(heap.layout(&shape).unwrap(), 3).is_ok(), "{shape:?}");
    }
    assert_eq!(m.new_array(Layout::NOSCAN, 3), Ok(heap.zero_base()));
}

#[test]
fn a_resolved_class_allocates_as_the_general_call_does() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let node = heap.layout(&TypeLayout::mask(2, 0b11)).unwrap();
    for size in [16, 17, 100, 512, 513, 2000, 32_768] {
        for layout in [Layout::NOSCAN, node] {
            let class = m.alloc_class(size, layout).unwrap();
            let mut previous = None;
            for _ in 0..100 {
                let object = m.alloc(class).unwrap();
                assert!(is_filled(object, round_up_size(size), 0));
                assert_eq!(find(&heap, object).unwrap().bytes, round_up_size(size));
                if layout.is_noscan() {
                    fill(object, size, 0xff);
                } else if let Some(previous) = previous {
                    link(&m, object, 1, previous);
                }
                previous = Some(object);
            }
            m.push_root(previous.unwrap());
            m.gc(Force::NowAndSweep).unwrap();
            if !layout.is_noscan() {
                let list = std::iter::successors(previous, |&at| reference(at, 1));
                assert_eq!(list.inspect(|&at| assert!(find(&heap, at).is_some())).count(), 100);
            }
        }
    }
    assert!(matches!(m.alloc_class(0, node), Err(AllocError::ZeroSize)));
    assert!(matches!(m.alloc_class(0, Layout::NOSCAN), Err(AllocError::ZeroSize)));
    assert!(!AllocError::ZeroSize.may_succeed_later());
    assert!(matches!(m.alloc_class(32_769, node), Err(AllocError::TooLarge { bytes: 32_769 })));
}
