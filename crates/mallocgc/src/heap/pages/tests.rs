//! The page allocator against a plain array, in the origin's shapes and at random.

use super::*;
use crate::base::random::Random;

/// A level-1 node: 8 chunks.
const L1: usize = 8 * CHUNK_PAGES;
/// A level-2 node.
const L2: usize = 8 * L1;

const RESERVED: usize = 1 << 24;

/// First page and count.
type Range = (usize, usize);

/// Pages with some of the grown ones used, as the origin's tests lay them out.
fn laid_out(grown: &[Range], used: &[Range]) -> Pages {
    let mut pages = Pages::new(RESERVED).unwrap();
    for &(first, count) in grown {
        pages.grow(PageId(first as u32), count).unwrap();
    }
    for &(first, count) in used {
        pages.remove(first, count);
    }
    pages.verify();
    pages
}

fn take(pages: &mut Pages, count: usize) -> Option<usize> {
    pages.take(count, 1).map(|run| run.first.index())
}

fn give(pages: &mut Pages, (first, count): Range) {
    pages.give_back(PageId(first as u32), count);
}

#[test]
fn mpagealloc_grow() {
    // What is grown, and its runs.
    let layouts: [(&str, &[Range], &[Range]); 9] = [
        ("one chunk", &[(0, 512)], &[(0, 512)]),
        ("part of a chunk", &[(7, 100)], &[(7, 100)]),
        ("two neighbours", &[(0, 512), (512, 512)], &[(0, 1024)]),
        ("many neighbours", &[(0, 2048), (2048, 2048), (4096, 9000)], &[(0, 13_096)]),
        ("from above", &[(2048, 512), (1536, 512), (1024, 512)], &[(1024, 1536)]),
        ("with a gap", &[(0, 512), (1024, 512)], &[(0, 512), (1024, 512)]),
        ("over a node's border", &[(L1 - 512, 1024)], &[(L1 - 512, 1024)]),
        ("over many levels' borders", &[(8 * L2 - 5, 10)], &[(8 * L2 - 5, 10)]),
        ("far apart", &[(0, 512), (RESERVED - 512, 512)], &[(0, 512), (RESERVED - 512, 512)]),
    ];
    for (name, grown, runs) in layouts {
        let mut pages = laid_out(grown, &[]);
        let total: usize = grown.iter().map(|range| range.1).sum();
        assert_eq!((pages.grown_pages(), pages.used_pages()), (total, 0), "{name}");
        assert_eq!((pages.free_pages(), pages.scavenged_pages()), (total, total), "{name}");
        assert_eq!(pages.longest_free(), runs.iter().map(|run| run.1).max().unwrap(), "{name}");
        for &(first, count) in runs {
            assert_eq!(pages.free_at_end(first + count), count, "{name}");
            assert!(pages.is_zero(PageId(first as u32)), "{name}");
            assert!(!pages.is_free(PageId((first + count) as u32)), "{name}");
        }
        for &(first, count) in runs {
            let run = pages.take(count, 1).expect(name);
            let expected = PageRun {
                first: PageId(first as u32),
                pages: count,
                zeroed_pages: count,
                dirty_from: 0,
                dirty_to: 0,
            };
            assert_eq!(run, expected, "{name}");
        }
        assert_eq!((pages.take(1, 1), pages.longest_free()), (None, 0), "{name}");
        pages.verify();
    }
}

#[test]
fn growing_reports_refusal_and_works_later() {
    for n in 1.. {
        let guard = crate::os::fault::fail_nth(n);
        let Ok(mut pages) = Pages::new(1 << 20) else { continue };
        let result = pages.grow(PageId(4096), 512);
        let refused = guard.failed() > 0;
        drop(guard);
        assert_eq!(result.is_err(), refused);
        pages.verify();
        if !refused {
            break;
        }
        assert_eq!((pages.grown_pages(), pages.take(1, 1)), (0, None));
        pages.grow(PageId(4096), 512).unwrap();
        assert_eq!(take(&mut pages, 512), Some(4096));
    }
}

#[test]
fn mpagealloc_alloc() {
    const NONE: Option<usize> = None;
    /// Name, grown, used, and (pages wanted, first page expected) in turn.
    type Case =
        (&'static str, &'static [Range], &'static [Range], &'static [(usize, Option<usize>)]);
    let cases: [Case; 22] = [
        ("all free, one", &[(0, 512)], &[], &[(1, Some(0)), (1, Some(1)), (1, Some(2))]),
        ("all free, many", &[(0, 512)], &[], &[(100, Some(0)), (100, Some(100)), (312, Some(200))]),
        ("all of a chunk", &[(0, 512)], &[], &[(512, Some(0)), (1, NONE)]),
        ("all used", &[(0, 512)], &[(0, 512)], &[(1, NONE), (2, NONE), (512, NONE)]),
        ("start used", &[(0, 512)], &[(0, 1)], &[(1, Some(1)), (510, Some(2)), (1, NONE)]),
        ("end used", &[(0, 512)], &[(511, 1)], &[(512, NONE), (511, Some(0)), (1, NONE)]),
        (
            "holes too small",
            &[(0, 512)],
            &[(1, 1), (4, 1)],
            &[(3, Some(5)), (2, Some(2)), (1, Some(0))],
        ),
        ("hole in a word", &[(0, 512)], &[(0, 20), (30, 482)], &[(11, NONE), (10, Some(20))]),
        ("hole over a word's border", &[(0, 512)], &[(0, 60), (70, 442)], &[(10, Some(60))]),
        (
            "hole over three words",
            &[(0, 512)],
            &[(0, 60), (200, 312)],
            &[(141, NONE), (140, Some(60))],
        ),
        (
            "over a chunk's border",
            &[(0, 1024)],
            &[(0, 500), (530, 494)],
            &[(31, NONE), (30, Some(500))],
        ),
        ("over a chunk", &[(0, 2048)], &[(0, 511), (1025, 1023)], &[(514, Some(511)), (1, NONE)]),
        (
            "over a node's border",
            &[(0, 2 * L1)],
            &[(0, L1 - 1), (L1 + 1, L1 - 1)],
            &[(2, Some(L1 - 1))],
        ),
        (
            "over a node",
            &[(0, 3 * L1)],
            &[(0, L1 - 7), (2 * L1 + 7, 10)],
            &[(L1 + 14, Some(L1 - 7))],
        ),
        (
            "over level 2's border",
            &[(0, 2 * L2)],
            &[(0, L2 - 300), (L2 + 300, 9)],
            &[(600, Some(L2 - 300))],
        ),
        ("larger than level 2", &[(0, 3 * L2)], &[(0, 3)], &[(2 * L2 + 5, Some(3)), (L2, NONE)]),
        (
            "only the last page",
            &[(0, L2)],
            &[(0, L2 - 1)],
            &[(2, NONE), (1, Some(L2 - 1)), (1, NONE)],
        ),
        (
            "not neighbours",
            &[(0, 512), (1024, 512)],
            &[],
            &[(513, NONE), (512, Some(0)), (512, Some(1024))],
        ),
        (
            "far apart",
            &[(0, 5), (8 * L2, 9)],
            &[],
            &[(6, Some(8 * L2)), (5, Some(0)), (4, NONE), (3, Some(8 * L2 + 6))],
        ),
        (
            "neighbours in other nodes",
            &[(L1 - 3, 3), (L1, 3)],
            &[],
            &[(7, NONE), (6, Some(L1 - 3))],
        ),
        (
            "the lower of two",
            &[(0, L2)],
            &[(0, 100), (110, L1), (L1 + 120, 5)],
            &[(10, Some(100)), (10, Some(L1 + 110))],
        ),
        (
            "a later fit, then an earlier",
            &[(0, L2)],
            &[(0, 1), (3, L1)],
            &[(3, Some(L1 + 3)), (2, Some(1)), (1, Some(L1 + 6))],
        ),
    ];
    for (name, grown, used, wanted) in cases {
        let mut pages = laid_out(grown, used);
        for &(count, expected) in wanted {
            assert_eq!(take(&mut pages, count), expected, "{name}: {count} pages");
            pages.verify();
        }
    }
}

#[test]
fn mpagealloc_exhaust() {
    let total = 3 * L1 + 777;
    for count in (1..=8).chain([16, 63, 64, 65, 127, 512, 513, 1000, 1024, 4096, 5000, total]) {
        let mut pages = laid_out(&[(0, total)], &[]);
        for number in 0..total / count {
            assert_eq!(take(&mut pages, count), Some(number * count), "{count} at a time");
        }
        assert_eq!(take(&mut pages, count), None);
        assert_eq!(pages.free_pages(), total % count);
        pages.verify();
    }
}

#[test]
fn mpagealloc_free() {
    let total = 2 * L2;
    let cases: [&[Range]; 22] = [
        &[(0, 1)],
        &[(1, 1)],
        &[(511, 1)],
        &[(512, 1)],
        &[(0, 64)],
        &[(10, 64)],
        &[(0, 512)],
        &[(512, 512)],
        &[(511, 2)],
        &[(500, 24)],
        &[(1, 1022)],
        &[(0, 1), (1, 1)],
        &[(1, 1), (0, 1), (2, 1)],
        &[(0, 3), (10, 3), (5, 3)],
        &[(L1 - 1, 2)],
        &[(L1, 512), (L1 - 512, 512)],
        &[(L1, L1)],
        &[(0, L2)],
        &[(L2 - 1, 2)],
        &[(L2 - L1, 2 * L1)],
        &[(total - 1, 1)],
        &[(0, 2 * L2)],
    ];
    for ranges in cases {
        let mut pages = laid_out(&[(0, total)], &[(0, total)]);
        for &range in ranges {
            give(&mut pages, range);
            pages.verify();
        }
        let sum: usize = ranges.iter().map(|range| range.1).sum();
        assert_eq!((pages.free_pages(), pages.dirty_pages()), (sum, sum), "{ranges:?}");
        // They come back one by one, in rising order.
        let mut expected: Vec<usize> = ranges.iter().flat_map(|&(at, n)| at..at + n).collect();
        expected.sort_unstable();
        for page in expected {
            assert_eq!(take(&mut pages, 1), Some(page), "{ranges:?}");
        }
        assert_eq!(take(&mut pages, 1), None);
    }
}

#[test]
fn mpagealloc_alloc_and_free() {
    let mut pages = laid_out(&[(0, L2)], &[]);
    for count in [1, 5, 64, 512, 1000, L1, L2] {
        for _ in 0..3 {
            assert_eq!(take(&mut pages, count), Some(0));
            give(&mut pages, (0, count));
            pages.verify();
        }
    }
    for at in 0..200 {
        assert_eq!(take(&mut pages, 10), Some(10 * at));
    }
    for at in (0..200).step_by(2) {
        give(&mut pages, (10 * at, 10));
    }
    assert_eq!(take(&mut pages, 11), Some(2000));
    assert_eq!(take(&mut pages, 4), Some(0));
    assert_eq!(take(&mut pages, 4), Some(4));
    assert_eq!(take(&mut pages, 4), Some(20));
    assert_eq!(take(&mut pages, 2), Some(8));
    pages.verify();
}

#[test]
fn misuse_panics() {
    fn refused(misuse: fn(&mut Pages)) -> String {
        let mut pages = laid_out(&[(0, 1000)], &[(0, 500)]);
        let misuse = std::panic::AssertUnwindSafe(|| misuse(&mut pages));
        *std::panic::catch_unwind(misuse).unwrap_err().downcast::<String>().unwrap()
    }
    assert!(refused(|pages| pages.give_back(PageId(499), 2)).contains("twice"));
    assert!(refused(|pages| pages.give_back_clean(PageId(600), 1)).contains("twice"));
    assert!(refused(|pages| pages.give_back(PageId(1000), 1)).contains("of 1000 grown"));
    assert!(refused(|pages| assert!(pages.take(1, 3).is_none())).contains("alignment 3"));
    assert!(refused(|pages| pages.grow(PageId(1 << 24), 1).unwrap()).contains("reserved"));
}

#[test]
fn aligned_runs_are_the_lowest() {
    let mut pages = laid_out(&[(0, L2)], &[(0, 3), (1000, 100)]);
    assert_eq!(pages.take(4, 4).unwrap().first, PageId(4));
    assert_eq!(pages.take(100, 512).unwrap().first, PageId(512));
    assert_eq!(pages.take(512, 512).unwrap().first, PageId(1536));
    assert_eq!(pages.take(1, 1).unwrap().first, PageId(3));
    assert_eq!(pages.take(256, 256).unwrap().first, PageId(256));
    assert_eq!(pages.take(L1, L1).unwrap().first, PageId(L1 as u32));
    assert!(pages.take(1, L2).is_none());
    pages.verify();
}

#[test]
fn aligned_runs_are_found_among_very_many_unaligned() {
    // 2000 runs of 32 pages, none of them at a multiple of 32, and one that is.
    let used: Vec<Range> = (0..2000).map(|i| (48 * i, 16)).collect();
    let mut pages = laid_out(&[(0, 96_000), (96_000, 64)], &[]);
    for (first, count) in used {
        pages.remove(first + usize::from(first % 32 == 16), count);
    }
    pages.tree.visits.take();
    let run = pages.take(32, 32).unwrap();
    assert_eq!((run.first.index() % 32, run.pages), (0, 32));
    assert!(pages.tree.visits.take() < 1500);
    pages.verify();
}

#[test]
fn scavenged_bits_cleared() {
    // Used pages are never flagged zero, whatever way they go.
    let mut pages = laid_out(&[(0, 2048)], &[]);
    let run = pages.take(1000, 1).unwrap();
    assert_eq!((run.zeroed_pages, pages.scavenged_pages()), (1000, 1048));
    give(&mut pages, (200, 300));
    assert_eq!((pages.scavenged_pages(), pages.dirty_pages()), (1048, 300));
    assert_eq!(pages.take(300, 1).unwrap().zeroed_pages, 0);
    give(&mut pages, (200, 800));
    let run = pages.take(1000, 1).unwrap();
    assert_eq!((run.first, run.zeroed_pages), (PageId(200), 200));
    pages.give_back_clean(PageId(300), 10);
    give(&mut pages, (310, 10));
    let run = pages.take(20, 1).unwrap();
    assert_eq!((run.first, run.zeroed_pages), (PageId(300), 10));
    for page in 0..1200 {
        assert!(!pages.is_zero(PageId(page)) && !pages.is_free(PageId(page)));
    }
    pages.verify();
}

#[test]
fn page_alloc_scavenge() {
    // Dirty pages leave from the top, whole huge pages first, each once.
    let mut pages = laid_out(&[(0, 4096)], &[]);
    pages.take(4096, 1).unwrap();
    for range in [(10, 5), (600, 100), (1024, 1024), (2100, 30), (4090, 6)] {
        give(&mut pages, range);
    }
    let mut below = PageId(u32::MAX);
    let mut seen = Vec::new();
    while let Some(run) = pages.take_dirty(512, 8, below) {
        assert_eq!(run.zeroed_pages, 0);
        seen.push((run.first.index(), run.pages));
        below = run.first;
        pages.give_back_clean(run.first, run.pages);
        pages.verify();
    }
    assert_eq!(seen, [(2100, 30), (1536, 512), (1024, 512), (600, 100)]);
    assert_eq!((pages.dirty_pages(), pages.scavenged_pages()), (11, 1154));
    // Shorter runs, when asked for.
    assert_eq!(pages.take_dirty(4, 1, PageId(u32::MAX)).unwrap().first, PageId(4092));
    assert_eq!(pages.take_dirty(512, 1, PageId(4092)).unwrap().first, PageId(4090));
    assert_eq!(pages.take_dirty(512, 1, PageId(4090)).unwrap().first, PageId(10));
    assert_eq!(pages.take_dirty(512, 1, PageId(4096)), None);
    // The system refused: dirty again.
    give(&mut pages, (10, 5));
    assert_eq!(pages.take_dirty(512, 1, PageId(4096)).unwrap().first, PageId(10));
}

#[test]
fn the_peak_is_the_most_used_at_once() {
    let mut pages = laid_out(&[(0, 1000)], &[]);
    assert_eq!(pages.reset_used_peak(), 0);
    pages.take(700, 1).unwrap();
    give(&mut pages, (0, 600));
    pages.take(50, 1).unwrap();
    assert_eq!(pages.reset_used_peak(), 700);
    assert_eq!(pages.reset_used_peak(), 150);
}

/// What the oracle knows of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    NotGrown,
    Used,
    Dirty,
    Zero,
}

struct Oracle(Vec<Page>);

impl Oracle {
    fn is_free(&self, page: usize) -> bool {
        matches!(self.0[page], Page::Dirty | Page::Zero)
    }

    fn first_fit(&self, pages: usize, align: usize) -> Option<usize> {
        let mut run = 0;
        for page in 0..self.0.len() {
            run = if self.is_free(page) { run + 1 } else { 0 };
            let end = page + 1;
            if run >= pages && end >= pages && (end - pages).is_multiple_of(align) {
                return Some(end - pages);
            }
        }
        None
    }

    fn count(&self, page: Page) -> usize {
        self.0.iter().filter(|&&p| p == page).count()
    }

    fn longest(&self) -> usize {
        let free: Vec<bool> = (0..self.0.len()).map(|page| self.is_free(page)).collect();
        free.split(|&free| !free).map(<[bool]>::len).max().unwrap_or(0)
    }
}

#[test]
fn random_operations_agree_with_an_array() {
    const TOTAL: usize = 3 * L1;
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut pages = Pages::new(TOTAL).unwrap();
        let mut oracle = Oracle(vec![Page::NotGrown; TOTAL]);
        let mut spans: Vec<Range> = Vec::new();
        let mut grown = 0;
        let mean = 1 << random.below(8);
        for step in 0..600 {
            let case = format!("seed {seed}, step {step}");
            match random.below(100) {
                0..5 if grown < TOTAL => {
                    let skip = if random.below(4) == 0 { random.below(100) as usize } else { 0 };
                    let first = (grown + skip).min(TOTAL - 1);
                    let count = (1 + random.below(2000) as usize).min(TOTAL - first);
                    pages.grow(PageId(first as u32), count).unwrap();
                    oracle.0[first..first + count].fill(Page::Zero);
                    grown = first + count;
                }
                0..50 => {
                    let count = 1 + random.exponential(mean) as usize;
                    let align = if random.below(5) == 0 { 1 << random.below(10) } else { 1 };
                    let run = pages.take(count, align);
                    let first = oracle.first_fit(count, align);
                    assert_eq!(run.map(|run| run.first.index()), first, "{case}: {count}/{align}");
                    if let Some(first) = first {
                        let range = &mut oracle.0[first..first + count];
                        let zero = range.iter().filter(|&&page| page == Page::Zero).count();
                        let run = run.unwrap();
                        assert_eq!(run.zeroed_pages, zero, "{case}");
                        let dirty = |&page: &Page| page != Page::Zero;
                        let from = range.iter().position(dirty).unwrap_or(0);
                        let to = range.iter().rposition(dirty).map_or(0, |last| last + 1);
                        assert_eq!((run.dirty_from, run.dirty_to), (from, to), "{case}");
                        range.fill(Page::Used);
                        spans.push((first, count));
                    }
                }
                50..90 => {
                    if spans.is_empty() {
                        continue;
                    }
                    let index = random.below(spans.len() as u64) as usize;
                    let (first, count) = spans[index];
                    // Sometimes only a part.
                    let part = if random.below(4) == 0 { 1 + count / 2 } else { count };
                    if part == count {
                        spans.swap_remove(index);
                    } else {
                        spans[index] = (first + part, count - part);
                    }
                    give(&mut pages, (first, part));
                    oracle.0[first..first + part].fill(Page::Dirty);
                }
                _ => {
                    let below = random.below(TOTAL as u64 + 1) as usize;
                    let (least, most) =
                        (1 + random.below(8) as usize, 8 + random.below(512) as usize);
                    let Some(run) = pages.take_dirty(most, least, PageId(below as u32)) else {
                        continue;
                    };
                    let (first, end) = (run.first.index(), run.first.index() + run.pages);
                    assert!(end <= below && run.pages <= most, "{case}: {run:?} below {below}");
                    assert!((first..end).all(|page| oracle.is_free(page)), "{case}: {run:?}");
                    let dirty = oracle.0[first..end].iter().filter(|&&p| p == Page::Dirty).count();
                    assert!(dirty >= least && run.zeroed_pages + dirty == run.pages, "{case}");
                    if random.below(5) == 0 {
                        give(&mut pages, (first, run.pages));
                        oracle.0[first..end].fill(Page::Dirty);
                    } else {
                        pages.give_back_clean(run.first, run.pages);
                        oracle.0[first..end].fill(Page::Zero);
                    }
                }
            }
            if step % 20 == 0 {
                pages.verify();
                let free = oracle.count(Page::Dirty) + oracle.count(Page::Zero);
                assert_eq!(pages.free_pages(), free, "{case}");
                assert_eq!(pages.scavenged_pages(), oracle.count(Page::Zero), "{case}");
                assert_eq!(pages.used_pages(), oracle.count(Page::Used), "{case}");
                assert_eq!(pages.longest_free(), oracle.longest(), "{case}");
                let at_end = (0..grown).rev().take_while(|&page| oracle.is_free(page)).count();
                assert_eq!(pages.free_at_end(grown), at_end, "{case}");
            }
        }
    }
}

/// 100 GiB of pages, filled with spans of 1 to 16 pages and thinned by half.
fn large_heap() -> (Pages, Vec<Range>, Random) {
    const PAGES_100_GIB: usize = (100 << 30) / crate::base::PAGE_SIZE;
    let mut random = Random::new(5);
    let mut pages = laid_out(&[(0, PAGES_100_GIB)], &[]);
    let mut spans = Vec::new();
    while let Some(run) = pages.take(1 + random.below(16) as usize, 1) {
        spans.push((run.first.index(), run.pages));
    }
    for index in (0..spans.len()).rev() {
        if random.below(2) == 0 {
            give(&mut pages, spans.swap_remove(index));
        }
    }
    (pages, spans, random)
}

#[test]
fn runs_are_found_in_few_steps_at_100_gib() {
    let (mut pages, mut spans, mut random) = large_heap();
    pages.verify();
    pages.tree.visits.take();
    let (mut most, mut sum) = (0, 0);
    const ROUNDS: u64 = 100_000;
    for _ in 0..ROUNDS {
        let index = random.below(spans.len() as u64) as usize;
        give(&mut pages, spans.swap_remove(index));
        let align = if random.below(10) == 0 { 8 } else { 1 };
        let count = align + random.exponential(10) as usize;
        let run = pages.take(count, align);
        let visits = pages.tree.visits.take();
        // Six levels, eight nodes each, up and down. An alignment has to try runs.
        assert!(visits <= 100 || align > 1, "{visits} steps for {count} pages");
        most = most.max(visits);
        sum += visits;
        spans.extend(run.map(|run| (run.first.index(), run.pages)));
    }
    assert!(sum / ROUNDS <= 100, "{} steps on average, {most} at most", sum / ROUNDS);
    pages.verify();
}

/// Costs, to be read: `cargo test --release -p mallocgc --lib costs -- --ignored --nocapture`.
#[test]
#[ignore = "prints measurements"]
fn costs_of_taking_and_giving_back() {
    use crate::os::thread_cpu_nanos;
    let report = |name: &str, count: usize, begin: u64| {
        println!("{name}: {:.1} ns", (thread_cpu_nanos() - begin) as f64 / count as f64);
    };
    let mut pages = laid_out(&[(0, 1 << 22)], &[]);
    let count = 1 << 20;
    let begin = thread_cpu_nanos();
    for _ in 0..count {
        pages.take(2, 1).unwrap();
    }
    report("fresh heap, take 2", count, begin);
    let begin = thread_cpu_nanos();
    for at in 0..count {
        give(&mut pages, (2 * at, 2));
    }
    report("give back in order", count, begin);
    let begin = thread_cpu_nanos();
    for _ in 0..count {
        let run = pages.take(4, 1).unwrap();
        give(&mut pages, (run.first.index(), 4));
    }
    report("take 4 and give back", count, begin);

    let (mut pages, mut spans, mut random) = large_heap();
    let (mut take_nanos, mut give_nanos) = (0, 0);
    const BATCH: usize = 1000;
    for _ in 0..200 {
        let picked: Vec<Range> = (0..BATCH)
            .map(|_| spans.swap_remove(random.below(spans.len() as u64) as usize))
            .collect();
        let begin = thread_cpu_nanos();
        picked.iter().for_each(|&range| give(&mut pages, range));
        let middle = thread_cpu_nanos();
        for range in picked {
            spans.extend(pages.take(range.1, 1).map(|run| (run.first.index(), run.pages)));
        }
        give_nanos += middle - begin;
        take_nanos += thread_cpu_nanos() - middle;
    }
    println!("100 GiB, 1 to 16 pages: take {:.1} ns", take_nanos as f64 / 200_000.0);
    println!("100 GiB, 1 to 16 pages: give back {:.1} ns", give_nanos as f64 / 200_000.0);
}
