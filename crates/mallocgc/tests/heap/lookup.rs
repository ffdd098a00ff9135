//! Object lookup by address: the origin's findObject, and reachability.

use crate::support::memory::{link, number, object};
use crate::support::{self, find, find_at};
use mallocgc::base::size_class::SizeClass;
use mallocgc::layout::TypeLayout;
use mallocgc::raw::{AllocFlags, Config, Force, Layout};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Release};

#[test]
fn every_byte_of_every_class_leads_to_its_object() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for class in SizeClass::all().filter(|class| class.index() > 0) {
        let size = class.cell_size();
        let made: Vec<usize> = (0..3)
            .map(|_| number(m.mallocgc(size, Layout::NOSCAN, AllocFlags::NO_TINY).unwrap()))
            .collect();
        for &base in &made {
            for inner in 0..size {
                let found = find_at(&heap, base + inner).expect("every byte is found");
                assert_eq!((found.base.as_usize(), found.bytes), (base, size), "{inner} of {size}");
            }
        }
    }
    for size in [40_960, 200_000] {
        let base = number(m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap());
        for inner in 0..size {
            assert_eq!(find_at(&heap, base + inner).unwrap().base.as_usize(), base);
        }
    }
}

#[test]
fn every_byte_of_a_cell_shared_by_layouts_leads_to_its_object() {
    // Rare layouts share spans, with a word in front that is no object's.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for words in 1..=64 {
        let layout = heap.layout(&TypeLayout::mask(words, 1 << (words - 1))).unwrap();
        let made = m.new_object(layout).unwrap();
        let found = find(&heap, made).unwrap();
        assert_eq!(found.base.as_usize(), number(made));
        assert!(found.bytes >= words * 8);
        for inner in 0..words * 8 {
            assert_eq!(find_at(&heap, number(made) + inner).unwrap().base, found.base);
        }
    }
}

#[test]
fn what_is_no_object_is_not_found() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let local = 5u64;
    let foreign = support::heap();
    let elsewhere = foreign.attach().unwrap();
    let theirs = elsewhere.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    let boxed = Box::new(1u64);
    for address in [
        0,
        1,
        usize::MAX,
        1 << 47,
        (&raw const local).addr(),
        (&raw const *boxed).addr(),
        number(theirs),
        number(heap.zero_base()),
        what_is_no_object_is_not_found as *const () as usize,
    ] {
        assert_eq!(find_at(&heap, address), None, "{address:#x}");
    }
    // Cells not handed out, the tail of a span, pages of no span.
    for class in SizeClass::all().filter(|class| class.index() > 0) {
        let size = class.cell_size();
        let base = number(m.mallocgc(size, Layout::NOSCAN, AllocFlags::NO_TINY).unwrap());
        let span_bytes = class.span_pages() * 8192;
        let end = base + span_bytes;
        for at in (base + size..end).step_by(size.min(64)) {
            assert_eq!(find_at(&heap, at), None, "class {size}: {at:#x} was not handed out");
        }
        let tail = base + class.cells() * size;
        for at in tail..end {
            assert_eq!(find_at(&heap, at), None, "class {size}: the tail at {at:#x}");
        }
        if size >= 512 {
            // The next span must begin elsewhere: fill this one.
            for _ in 1..class.cells() {
                m.mallocgc(size, Layout::NOSCAN, AllocFlags::NO_ZERO).unwrap();
            }
        }
    }
}

#[test]
fn the_dead_are_not_found() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let mut all = Vec::new();
    for class in SizeClass::all().filter(|class| class.index() > 0) {
        for index in 0..20 {
            let made = m.mallocgc(class.cell_size(), Layout::NOSCAN, AllocFlags::NO_TINY).unwrap();
            if index % 2 == 0 {
                m.push_root(made);
            }
            all.push((index % 2 == 0, number(made), class.cell_size()));
        }
    }
    // Swept or not, the answer is the same.
    for force in [Force::Now, Force::NowAndSweep] {
        m.gc(force).unwrap();
        for &(kept, address, size) in &all {
            for inner in [0, size / 2, size - 1] {
                let found = find_at(&heap, address + inner);
                assert_eq!(found.is_some(), kept, "{inner} of {size}, {force:?}");
            }
        }
    }
}

#[test]
fn exactly_the_rooted_are_reachable() {
    // The origin's TestGCTestIsReachable, without its slop of one.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let cell = heap.layout(&TypeLayout::mask(1, 1)).unwrap();
    for round in 0..50u32 {
        let made: Vec<usize> =
            (0..16).map(|_| number(m.mallocgc(8, cell, AllocFlags::NONE).unwrap())).collect();
        let chosen = round.wrapping_mul(0x9e37_79b9) >> 16;
        for (index, &address) in made.iter().enumerate() {
            if chosen >> index & 1 == 1 {
                m.push_root(object(address));
            }
        }
        m.gc(Force::Now).unwrap();
        let mut alive = 0;
        for (index, &address) in made.iter().enumerate() {
            alive |= u32::from(find_at(&heap, address).is_some()) << index;
        }
        assert_eq!(alive, chosen & 0xffff, "round {round}");
        m.truncate_roots(0);
    }
}

#[test]
fn a_pointer_one_past_the_end_corrupts_nobody() {
    // The origin's gcstring, s[len:] of a full cell: such a pointer belongs to
    // whatever comes next. Where any word may be a reference that is harmless.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let holder = heap.layout(&TypeLayout::conservative(8)).unwrap();
    for _ in 0..10_000 {
        let text = m.mallocgc(16, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        crate::support::memory::fill(text, 16, 0x21);
        let keeper = m.mallocgc(8, holder, AllocFlags::NONE).unwrap();
        crate::support::memory::set_word(keeper, 0, number(text) + 16);
        m.push_root(keeper);
        if m.root_count() == 1000 {
            m.gc(Force::Now).unwrap();
            assert_eq!(m.verify(), Ok(None));
            for index in 0..1000 {
                assert!(find(&heap, m.root(index)).is_some());
            }
            m.truncate_roots(0);
        }
    }
    // The last byte is the object's own.
    let cell = heap.layout(&TypeLayout::mask(1, 1)).unwrap();
    let text = m.mallocgc(16, Layout::NOSCAN, AllocFlags::NONE).unwrap();
    let keeper = m.new_object(cell).unwrap();
    link(&m, keeper, 0, crate::support::memory::inside(text, 15));
    m.push_root(keeper);
    m.gc(Force::NowAndSweep).unwrap();
    assert!(find(&heap, text).is_some());
    assert_eq!(heap.stats().heap_objects, 2);
}

#[test]
#[cfg_attr(mallocgc_asan, ignore = "the sanitizer reports that the free cell is scanned")]
fn a_reference_into_a_free_cell_breaks_no_count() {
    // One past the end of the object itself, where nothing has been allocated
    // or what was is dead.
    for background in [false, true] {
        for objects in [1, 2, 70, 5000] {
            let heap =
                support::heap_with(Config { background, verify: false, ..support::manual() });
            let m = heap.attach().unwrap();
            let layout = heap.layout(&TypeLayout::mask(8, 1)).unwrap();
            let class = m.alloc_class(64, layout).unwrap();
            for index in 0..objects {
                let object = m.alloc(class).unwrap();
                if index % 2 == objects % 2 || index + 1 == objects {
                    // SAFETY: a reference word of a new object; the value is the
                    // case under test.
                    unsafe { m.write(object.as_ptr().cast(), object.as_ptr().add(64)) };
                    m.push_root(object);
                }
            }
            // Whose next cell was allocated keeps that.
            let kept = m.root_count() as u64..=objects;
            for force in [Force::Now, Force::NowAndSweep, Force::NowAndSweep] {
                m.gc(force).unwrap();
                heap.stats().check().unwrap();
            }
            let alive = heap.stats().heap_objects;
            assert!(kept.contains(&alive), "{alive} of {objects}");
            for _ in 0..10_000 {
                m.alloc(class).unwrap();
            }
            m.truncate_roots(0);
            m.gc(Force::NowAndSweep).unwrap();
            heap.stats().check().unwrap();
            assert_eq!(heap.stats().heap_objects, 0, "{objects}");
        }
    }
}

#[test]
fn lookups_beside_running_mutators_are_sane() {
    let heap = support::heap_with(support::config());
    let done = std::sync::atomic::AtomicBool::new(false);
    let seen = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let m = heap.attach().unwrap();
                for step in 0..support::scaled(60_000) {
                    let size = 16 + step * 7 % 3000;
                    let made = m.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                    if step % 64 == 0 {
                        seen.lock().unwrap().push(number(made));
                        m.poll();
                    }
                }
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
        }
        scope.spawn(|| {
            let mut asked = 0usize;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let address = seen.lock().unwrap().last().copied().unwrap_or(0);
                for offset in (0..100_000).step_by(1001) {
                    if let Some(found) = find_at(&heap, address + offset) {
                        let inner = (address + offset).wrapping_sub(found.base.as_usize());
                        assert!(inner < found.bytes);
                    }
                    asked += 1;
                }
            }
            assert!(asked > 0);
        });
    });
}

#[test]
fn an_object_is_found_while_its_allocator_moves_on() {
    let heap = support::heap();
    let last = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let allocator = scope.spawn(|| {
            let m = heap.attach().unwrap();
            // A span has 16 of these, so that cursors change spans all the
            // time. Nobody touches them, so they take no memory.
            for _ in 0..support::scaled(2_000_000) {
                let made = m.mallocgc(512, Layout::NOSCAN, AllocFlags::NO_TINY).unwrap();
                last.store(number(made), Release);
            }
        });
        while !allocator.is_finished() {
            let address = last.load(Acquire);
            for _ in 0..100 {
                assert!(address == 0 || find_at(&heap, address).is_some(), "{address:#x} is lost");
            }
        }
    });
}
