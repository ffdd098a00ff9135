//! Layouts: the collector reads exactly the words that hold references.

use crate::support::memory::{link, number, object, set_word, word};
use crate::support::{self, find, find_at};
use mallocgc::layout::{ProgramBuilder, Tracer, TypeLayout};
use mallocgc::raw::{AllocFlags, Force, Heap, Layout, Mutator};
use std::sync::Barrier;

/// Puts an object of its own into each of these words of a rooted object, and
/// tells which of them a collection kept.
fn kept(heap: &Heap, m: &Mutator, size: usize, layout: Layout, words: &[usize]) -> Vec<usize> {
    let holder = m.mallocgc(size, layout, AllocFlags::NONE).unwrap();
    let targets: Vec<(usize, usize)> = words
        .iter()
        .map(|&index| {
            let target = m.mallocgc(24, Layout::NOSCAN, AllocFlags::NONE).unwrap();
            link(m, holder, index, target);
            (index, number(target))
        })
        .collect();
    let depth = m.root_count();
    m.push_root(holder);
    m.gc(Force::Now).unwrap();
    m.truncate_roots(depth);
    for &(index, target) in &targets {
        assert_eq!(word(holder, index), target, "nobody writes objects but their owner");
    }
    targets.into_iter().filter(|&(_, at)| find_at(heap, at).is_some()).map(|it| it.0).collect()
}

/// Checks that a collection reads the words `shape` names, and no others.
fn check(heap: &Heap, m: &Mutator, shape: &TypeLayout, words: usize) {
    let layout = heap.layout(shape).unwrap();
    // Twice, for the cells with a header and those without.
    for round in 0..2 {
        let all: Vec<usize> = (0..words).collect();
        let expected: Vec<usize> = shape.pointer_words(words).collect();
        let kept = kept(heap, m, words * 8, layout, &all);
        assert_eq!(kept, expected, "round {round}: {shape:?} in {words} words");
        // Past its first objects a layout gets spans of its own.
        for _ in 0..(20_000 / (words * 8)).max(1) {
            m.mallocgc(words * 8, layout, AllocFlags::NONE).unwrap();
        }
    }
}

/// A number scattered over all others.
fn scatter(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value ^ value >> 29
}

#[test]
fn a_cell_of_one_word_holds_a_reference() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let cell = heap.layout(&TypeLayout::mask(1, 1)).unwrap();
    let mut last = m.new_object(cell).unwrap();
    let first = last;
    for _ in 0..5000 {
        let next = m.new_object(cell).unwrap();
        link(&m, next, 0, last);
        last = next;
    }
    m.push_root(last);
    m.gc(Force::NowAndSweep).unwrap();
    let mut at = last;
    let mut length = 0;
    while let Some(next) = crate::support::memory::reference(at, 0) {
        assert!(find(&heap, next).is_some());
        at = next;
        length += 1;
    }
    assert_eq!((at, length), (first, 5000));
}

#[test]
fn masks_of_every_length_are_read_exactly() {
    // Scalars, references, mixed structures, two of a kind: as in the origin's
    // TestGCInfo, by random masks of every number of words.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for words in 1..=64 {
        let all = u64::MAX >> (64 - words);
        for mask in [1, 1 << (words - 1), all, scatter(words as u64) & all] {
            check(&heap, &m, &TypeLayout::mask(words, mask), words);
        }
    }
}

#[test]
fn long_masks_are_read_exactly() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for words in [65usize, 100, 127, 128, 129, 500, 1000, 4096] {
        let mut bits: Vec<u64> = (0..words.div_ceil(64)).map(|i| scatter(i as u64 + 7)).collect();
        *bits.last_mut().unwrap() &= u64::MAX >> (bits.len() * 64 - words);
        check(&heap, &m, &TypeLayout::mask_bits(words, &bits).unwrap(), words);
    }
}

#[test]
fn a_long_mask_continues_into_large_objects() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let words = 30_000usize;
    let bits: Vec<u64> = (0..words.div_ceil(64)).map(|i| scatter(i as u64 + 9)).collect();
    let bits: Vec<u64> = bits
        .iter()
        .enumerate()
        .map(|(i, &word)| if i == words / 64 { word & u64::MAX >> (64 - words % 64) } else { word })
        .collect();
    let shape = TypeLayout::mask_bits(words, &bits).unwrap();
    let layout = heap.layout(&shape).unwrap();
    let probes: Vec<usize> = (0..words - 70).step_by(37).chain(words - 70..words).collect();
    let expected: Vec<usize> =
        probes.iter().copied().filter(|&index| shape.is_pointer(index)).collect();
    assert_eq!(kept(&heap, &m, words * 8, layout, &probes), expected);
}

#[test]
fn arrays_of_odd_elements_are_read_exactly_at_every_length() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for (elem, mask) in [(3usize, 0b101u64), (5, 0b10010), (7, 0b1000001)] {
        let shape = TypeLayout::mask(elem, mask).array_of().unwrap();
        let layout = heap.layout(&shape).unwrap();
        for lengths in (1..=1000usize).collect::<Vec<_>>().chunks(100) {
            let mut probes = Vec::new();
            let depth = m.root_count();
            for &length in lengths {
                let array = m.new_array(layout, length).unwrap();
                m.push_root(array);
                let words = elem * length;
                let middle = words / 2..words / 2 + elem;
                for index in (0..elem).chain(middle).chain(words - elem..words) {
                    if index < words && word(array, index) == 0 {
                        let target = m.mallocgc(16, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                        link(&m, array, index, target);
                        probes.push((length, index, number(target)));
                    }
                }
            }
            m.gc(Force::Now).unwrap();
            m.truncate_roots(depth);
            for (length, index, target) in probes {
                let expected = mask >> (index % elem) & 1 == 1;
                let found = find_at(&heap, target).is_some();
                assert_eq!(found, expected, "word {index} of {length} times {elem} words");
            }
        }
    }
}

#[test]
fn a_head_and_repeated_elements_are_read_exactly() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for head in [0usize, 1, 2, 5, 64, 70, 130] {
        for elem in [1usize, 2, 3, 64, 65, 100] {
            let bits = |words: usize, salt: u64| -> Vec<u64> {
                let mut bits: Vec<u64> =
                    (0..words.div_ceil(64)).map(|i| scatter(i as u64 + salt) | 1).collect();
                if let Some(last) = bits.last_mut()
                    && !words.is_multiple_of(64)
                {
                    *last &= u64::MAX >> (64 - words % 64);
                }
                bits
            };
            let shape =
                TypeLayout::repeat_bits(head, &bits(head, 3), elem, &bits(elem, 4)).unwrap();
            check(&heap, &m, &shape, head + 3 * elem + 1);
        }
    }
}

#[test]
fn programs_are_read_exactly() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for (times, plain) in [(1usize, 0usize), (10, 3), (300, 1), (900, 4)] {
        let mut builder = ProgramBuilder::new();
        builder.plain(plain).references(2).repeat(times, |body| {
            body.plain(1).literal(5, 0b10011).repeat(2, |inner| {
                inner.references(1).plain(2);
            });
        });
        let program = builder.finish().unwrap();
        let shape = TypeLayout::program(&program).unwrap();
        let layout = heap.layout(&shape).unwrap();
        let words = program.expanded_words().max(1) + 3;
        let probes: Vec<usize> = (0..words).step_by(1 + words / 1500).collect();
        let expected: Vec<usize> =
            probes.iter().copied().filter(|&index| shape.is_pointer(index)).collect();
        assert_eq!(kept(&heap, &m, words * 8, layout, &probes), expected, "{times} times");
    }
}

/// A type so large that nobody writes its mask down: `times` rounds of a
/// reference and 15 plain words.
fn sparse_program(times: usize) -> TypeLayout {
    let mut builder = ProgramBuilder::new();
    builder.repeat(times, |body| {
        body.references(1).plain(15);
    });
    TypeLayout::program(&builder.finish().unwrap()).unwrap()
}

#[test]
fn a_huge_type_is_traced_lazily_and_racing_threads_agree() {
    // Below and above the size up to which a program is unrolled.
    for times in [20_000usize, 100_000] {
        let heap = support::heap();
        let shape = sparse_program(times);
        let layout = heap.layout(&shape).unwrap();
        let begin = Barrier::new(4);
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let (heap, begin) = (&heap, &begin);
                scope.spawn(move || {
                    let mut m = heap.attach().unwrap();
                    m.blocking(|| begin.wait());
                    let holder = m.new_object(layout).unwrap();
                    m.push_root(holder);
                    let mut probes = Vec::new();
                    for round in (thread..times).step_by(1 + times / 300) {
                        for index in [16 * round, 16 * round + 1 + thread] {
                            let at = m.mallocgc(32, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                            link(&m, holder, index, at);
                            probes.push((index, number(at)));
                        }
                    }
                    // The first use of the layout by a collection, by all at once.
                    m.gc(Force::Now).unwrap();
                    for (index, target) in probes {
                        if index.is_multiple_of(16) {
                            assert!(find_at(heap, target).is_some(), "reference {index}");
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn what_a_huge_type_does_not_name_is_not_kept() {
    for times in [20_000usize, 100_000] {
        let heap = support::heap();
        let m = heap.attach().unwrap();
        let shape = sparse_program(times);
        let layout = heap.layout(&shape).unwrap();
        let probes: Vec<usize> =
            (0..times).step_by(1 + times / 100).flat_map(|at| [16 * at, 16 * at + 7]).collect();
        let expected: Vec<usize> =
            probes.iter().copied().filter(|index| index.is_multiple_of(16)).collect();
        assert_eq!(kept(&heap, &m, layout.size_bytes(), layout, &probes), expected);
    }
}

/// Reads a count and that many references.
unsafe fn counted(object: *mut u8, size: usize, tracer: &mut Tracer<'_>) {
    let words = object.cast::<usize>();
    // SAFETY: the collector passes `size` readable bytes, at least a word.
    let count = unsafe { words.read() };
    for index in 1..=count.min(size / 8 - 1) {
        // SAFETY: as above.
        tracer.visit(unsafe { words.add(index).cast::<*const u8>().read() });
    }
}

#[test]
fn a_trace_function_decides() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let layout = heap.layout(&TypeLayout::trace(64, counted)).unwrap();
    for words in [8usize, 60, 63, 64, 65, 500, 5000] {
        for count in [0, 1, words / 2, words - 1] {
            for _ in 0..2 {
                let holder = m.mallocgc(words * 8, layout, AllocFlags::NONE).unwrap();
                set_word(holder, 0, count);
                let targets: Vec<usize> = (1..words)
                    .map(|index| {
                        let at = m.mallocgc(16, Layout::NOSCAN, AllocFlags::NONE).unwrap();
                        link(&m, holder, index, at);
                        number(at)
                    })
                    .collect();
                m.push_root(holder);
                m.gc(Force::Now).unwrap();
                m.truncate_roots(0);
                let alive = targets.iter().take_while(|&&at| find_at(&heap, at).is_some()).count();
                assert_eq!(alive, count, "of {words} words");
                assert!(targets[count..].iter().all(|&at| find_at(&heap, at).is_none()));
            }
        }
    }
}

#[test]
fn any_word_of_a_conservative_object_keeps() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let layout = heap.layout(&TypeLayout::conservative(8)).unwrap();
    for words in [1usize, 2, 60, 64, 65, 1000, 20_000] {
        let probes: Vec<usize> = (0..words).step_by(1 + words / 500).collect();
        assert_eq!(kept(&heap, &m, words * 8, layout, &probes), probes);
        // What names no object is harmless: free cells, other numbers.
        let holder = m.mallocgc(words * 8, layout, AllocFlags::NONE).unwrap();
        m.push_root(holder);
        let dead = m.mallocgc(352, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        m.push_root(m.mallocgc(352, Layout::NOSCAN, AllocFlags::NONE).unwrap());
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(find(&heap, dead), None);
        for index in 0..words {
            let odd = [number(dead), usize::MAX, 1, number(dead) + 8191, 1 << 63][index % 5];
            set_word(holder, index, odd);
        }
        m.gc(Force::NowAndSweep).unwrap();
        assert_eq!(find(&heap, dead), None, "a free cell is not revived");
        m.truncate_roots(0);
    }
}

#[test]
fn slack_behind_the_object_keeps_nothing() {
    // The layout ends, the cell goes on: what lies there is not read.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for (words, size) in [(1usize, 32usize), (3, 48), (5, 112), (33, 1024), (60, 4864)] {
        let mask = u64::MAX >> (64 - words);
        let layout = heap.layout(&TypeLayout::mask(words, mask)).unwrap();
        for _ in 0..2 {
            let all: Vec<usize> = (0..size / 8).collect();
            let expected: Vec<usize> = (0..words).collect();
            assert_eq!(kept(&heap, &m, size, layout, &all), expected, "{words} words in {size}");
            for _ in 0..20_000 / size {
                m.mallocgc(size, layout, AllocFlags::NONE).unwrap();
            }
        }
    }
}

#[test]
fn an_opaque_tail_is_not_read() {
    // Only the head of the origin's defer blocks is described; here any
    // layout may be used for a longer object.
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let layout = heap.layout(&TypeLayout::mask(2, 0b10)).unwrap();
    for size in [16, 64, 1000, 40_000] {
        let all: Vec<usize> = (0..size / 8).step_by(1 + size / 8000).collect();
        let kept = kept(&heap, &m, size, layout, &all);
        let expected: Vec<usize> = all.into_iter().filter(|&index| index == 1).collect();
        assert_eq!(kept, expected, "{size} bytes");
    }
}

#[test]
fn pointer_free_objects_keep_nothing() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    for size in [16, 64, 512, 5000, 32_768, 100_000] {
        let all: Vec<usize> = (0..size / 8).step_by(1 + size / 4000).collect();
        assert_eq!(kept(&heap, &m, size, Layout::NOSCAN, &all), [0usize; 0], "{size} bytes");
    }
}

#[test]
fn thousands_of_rare_layouts_share_spans() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let before = heap.stats().heap_inuse;
    let mut made = Vec::new();
    for number_of in 0..5000u64 {
        let words = 20;
        let mask = (scatter(number_of) | 1) & u64::MAX >> (64 - words);
        let layout = heap.layout(&TypeLayout::mask(words, mask)).unwrap();
        let holder = m.new_object(layout).unwrap();
        let kept = m.mallocgc(16, Layout::NOSCAN, AllocFlags::NONE).unwrap();
        link(&m, holder, 0, kept);
        m.push_root(holder);
        made.push((number(holder), number(kept)));
    }
    let inuse = heap.stats().heap_inuse - before;
    assert!(inuse < 4 << 20, "5000 objects of 160 bytes take {inuse} bytes of spans");
    m.gc(Force::NowAndSweep).unwrap();
    for (holder, kept) in made {
        assert!(find_at(&heap, holder).is_some() && find_at(&heap, kept).is_some());
        assert_eq!(word(object(holder), 0), kept);
    }
}

#[test]
fn layouts_come_to_an_end_with_an_error() {
    let heap = support::heap();
    let m = heap.attach().unwrap();
    let mut refused = 0;
    let mut last = None;
    for number_of in 0..66_000u64 {
        let shape = TypeLayout::mask(40, (1 << 39) | (number_of + 1));
        match heap.layout(&shape) {
            Ok(layout) => last = Some(layout),
            Err(error) => {
                assert_eq!(error, mallocgc::raw::LayoutError::NoRoom);
                refused += 1;
            }
        }
    }
    assert!((400..5000).contains(&refused), "{refused} of 66,000 layouts are refused");
    // Those there are work on.
    let object = m.new_object(last.unwrap()).unwrap();
    assert!(find(&heap, object).is_some());
    heap.layout(&TypeLayout::mask(40, (1 << 39) | 1)).expect("a known layout is no new one");
}
