//! Tiny objects: pointer-free, shorter than 16 bytes, sharing 16-byte blocks by
//! the origin's rules.

use crate::support::memory::{byte, fill, is_filled, number, set_byte};
use crate::support::{self, find, find_at};
use mallocgc::layout::TypeLayout;
use mallocgc::raw::{AllocFlags, Force, Heap, Layout, Mutator};

fn tiny(m: &Mutator, size: usize) -> usize {
    let object = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    assert!(is_filled(object, size, 0), "{size} bytes at {object:?} are not zero");
    number(object)
}

fn block(heap: &Heap, address: usize) -> usize {
    let found = find_at(heap, address).expect("a tiny object is found");
    assert_eq!(found.bytes, 16, "tiny objects live in blocks of 16 bytes");
    found.base.as_usize()
}

/// Alignment of a tiny object, by its size.
fn align(size: usize) -> usize {
    [8, 4, 2].into_iter().find(|align| size.is_multiple_of(*align)).unwrap_or(1)
}

#[test]
fn only_pointer_free_objects_below_16_bytes_share() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let first = tiny(&m, 1);
    for index in 1..8 {
        assert_eq!(tiny(&m, 1), first + index, "eight bytes share a block");
    }
    assert_eq!(block(&heap, first), first);
    // 16 bytes do not, nor do references, nor who asks not to.
    let blocks: Vec<usize> = (0..4).map(|_| block(&heap, tiny(&m, 16))).collect();
    assert!(!blocks.contains(&first));
    assert!(blocks.iter().collect::<std::collections::HashSet<_>>().len() == 4);
    let cell = heap.layout(&TypeLayout::mask(1, 1)).unwrap();
    let one = m.mallocgc(8, cell, AllocFlags::NONE).unwrap();
    let two = m.mallocgc(8, cell, AllocFlags::NONE).unwrap();
    assert_ne!(find(&heap, one).unwrap().base, find(&heap, two).unwrap().base);
    let one = m.mallocgc(1, Layout::NOSCAN, AllocFlags::NO_TINY).unwrap();
    let two = m.mallocgc(1, Layout::NOSCAN, AllocFlags::NO_TINY).unwrap();
    assert_ne!(find(&heap, one).unwrap().base, find(&heap, two).unwrap().base);
}

#[test]
fn sixteen_bytes_take_fewer_than_sixteen_words() {
    // The origin's TestTinyAlloc.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let chunks: std::collections::HashSet<usize> = (0..16).map(|_| tiny(&m, 1) / 8).collect();
    assert!(chunks.len() < 16, "{} chunks", chunks.len());
}

#[test]
fn alignment_goes_by_size_in_every_order() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for first in 1..16 {
        for second in 1..16 {
            for third in 1..16 {
                for size in [first, second, third] {
                    let address = tiny(&m, size);
                    assert!(
                        address.is_multiple_of(align(size)),
                        "{size} bytes at {address:#x} ({first}, {second}, {third})"
                    );
                }
            }
        }
        m.poll();
    }
}

/// The origin's rules, with blocks named by their base.
#[derive(Default)]
struct Model {
    next: usize,
    left: usize,
}

impl Model {
    /// The address an object gets in the open block; `None` when a block must
    /// be taken.
    fn fit(&mut self, size: usize) -> Option<usize> {
        let at = self.next.next_multiple_of(align(size));
        let used = size + (at - self.next);
        if used > self.left {
            return None;
        }
        self.next = at + size;
        self.left -= used;
        Some(at)
    }

    /// A block was taken for `size` bytes: it replaces the open one if it
    /// leaves more room.
    fn take(&mut self, base: usize, size: usize) {
        if 16 - size > self.left {
            self.next = base + size;
            self.left = 16 - size;
        }
    }
}

#[test]
fn places_are_those_of_the_rules() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let mut model = Model::default();
    let mut state = 5u64;
    let mut shared = 0;
    for step in 0..20_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        let size = 1 + (state >> 33) as usize % 15;
        let address = tiny(&m, size);
        match model.fit(size) {
            Some(expected) => {
                assert_eq!(address, expected, "step {step}, {size} bytes");
                shared += 1;
            }
            None => {
                assert_eq!(block(&heap, address), address, "step {step}, {size} bytes");
                model.take(address, size);
            }
        }
        // Overlapping objects would show here.
        fill(crate::support::memory::object(address), size, 0xff);
    }
    assert!(shared > 5000, "{shared} objects shared a block");
}

#[test]
fn the_block_with_more_room_is_kept() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let eight = tiny(&m, 8);
    let fifteen = tiny(&m, 15);
    let one = tiny(&m, 1);
    assert_ne!(block(&heap, fifteen), block(&heap, eight));
    assert_eq!(one, eight + 8, "the one byte joins the eight");
}

#[test]
fn no_zero_is_zeroed_too() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for _ in 0..3 {
        for step in 0..4000 {
            let size = 1 + step % 15;
            let object = m.raw_mem(size).unwrap();
            assert!(is_filled(object, size, 0));
            fill(object, size, 0xee);
        }
        m.gc(Force::NowAndSweep).unwrap();
    }
}

#[test]
fn a_hit_only_counts() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let before = heap.stats();
    for _ in 0..64 {
        tiny(&m, 1);
    }
    let after = heap.stats();
    assert_eq!(after.mallocs - before.mallocs, 64, "every object counts");
    assert_eq!(after.by_size[2].mallocs - before.by_size[2].mallocs, 4, "blocks of 16 bytes");
    assert_eq!(after.tiny_allocs - before.tiny_allocs, 60);
    assert_eq!(after.total_alloc - before.total_alloc, 64);
    after.check().unwrap();
}

#[test]
fn a_block_lives_as_long_as_its_last_object() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let first = tiny(&m, 1);
    let all: Vec<usize> = std::iter::once(first).chain((1..16).map(|_| tiny(&m, 1))).collect();
    assert_eq!(block(&heap, all[15]), first);
    for (index, &address) in all.iter().enumerate() {
        set_byte(crate::support::memory::object(address), 0, index as u8 + 1);
    }
    m.push_root(crate::support::memory::object(all[11]));
    for _ in 0..3 {
        m.gc(Force::NowAndSweep).unwrap();
        for (index, &address) in all.iter().enumerate() {
            assert!(find_at(&heap, address).is_some(), "the block is kept by one of sixteen");
            assert_eq!(byte(crate::support::memory::object(address), 0), index as u8 + 1);
        }
    }
    m.truncate_roots(0);
    m.gc(Force::NowAndSweep).unwrap();
    assert_eq!(find_at(&heap, first), None, "nobody is left");
}

#[test]
fn a_collection_drops_the_open_block() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for round in 0..100 {
        let before = tiny(&m, 3);
        m.gc(if round % 2 == 0 { Force::Now } else { Force::NowAndSweep }).unwrap();
        let after = tiny(&m, 3);
        // In the dead block it would belong to a free cell.
        let base = block(&heap, after);
        assert_eq!(after, base, "the first of a new block; {before:#x} was in the old one");
        fill(crate::support::memory::object(after), 3, 0xff);
    }
}
