//! Layouts against a model that is a plain function from word to bit.

use super::*;
use proptest::prelude::*;

fn trace_nothing(_: *mut u8, _: usize, _: &mut super::super::Tracer<'_>) {}

/// The words of `0..cell_words` whose bit a function says is set.
fn expected(cell_words: usize, is_pointer: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..cell_words).filter(|word| is_pointer(*word)).collect()
}

/// Checks everything that reads a layout against the list of its references.
fn check(layout: &TypeLayout, cell_words: usize, expected: &[usize]) {
    let oracle: Vec<usize> = layout.pointer_words(cell_words).collect();
    assert_eq!(oracle, expected, "{layout:?}, {cell_words} words");

    let mut bits = vec![0; layout.bits_words()];
    layout.write_bits(&mut bits);
    let encoding = layout.encoding();
    let fast: Vec<usize> = encoding.pointer_words(&bits, 0, cell_words).collect();
    assert_eq!(fast, expected, "{layout:?}, {cell_words} words");

    // From the middle, and not to the end.
    for (from, to) in
        [(1, cell_words), (cell_words / 3, cell_words / 2), (cell_words / 2, cell_words)]
    {
        let part: Vec<usize> = encoding.pointer_words(&bits, from, to).collect();
        let within: Vec<usize> =
            expected.iter().copied().filter(|word| (from..to).contains(word)).collect();
        assert_eq!(part, within, "{layout:?}, words {from}..{to}");
    }

    let last = expected.last().map_or(0, |word| word + 1);
    assert!(last <= encoding.scanned_words(cell_words), "{layout:?}, {cell_words} words");

    let mask = layout.unrolled_mask(cell_words);
    if cell_words <= 64 {
        assert_eq!(mask, Some(expected.iter().fold(0, |mask, word| mask | 1 << word)));
    } else {
        assert_eq!(mask, None);
    }

    if let Some(unrolled) = encoding.unrolled() {
        let mut out = vec![0; unrolled.bits_words()];
        encoding.unroll(&bits, &mut out);
        let unrolled: Vec<usize> = unrolled.pointer_words(&out, 0, cell_words).collect();
        assert_eq!(unrolled, expected, "{layout:?} unrolled, {cell_words} words");
    }
}

fn bit(bits: &[u64], word: usize) -> bool {
    bits[word / 64] >> (word % 64) & 1 != 0
}

/// A mask of `words` words, sometimes sparse, sometimes periodic.
fn mask_strategy(words: impl Strategy<Value = usize>) -> impl Strategy<Value = (usize, Vec<u64>)> {
    (words, any::<u64>(), 0..4u32, 1..9usize).prop_map(|(words, seed, kind, period)| {
        let mut bits = vec![0u64; words.div_ceil(64)];
        let mut state = seed | 1;
        for word in 0..words {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let set = match kind {
                0 => state >> 63 != 0,
                1 => state >> 59 == 0,
                2 => seed >> (word % period) & 1 != 0,
                _ => false,
            };
            if set {
                bits[word / 64] |= 1 << (word % 64);
            }
        }
        (words, bits)
    })
}

/// A program as a tree, with its naive expansion.
#[derive(Clone, Debug)]
enum Tree {
    Plain(usize),
    References(usize),
    Literal(usize, u64),
    Repeat(usize, Vec<Tree>),
}

impl Tree {
    fn build(&self, builder: &mut ProgramBuilder) {
        match self {
            Tree::Plain(words) => builder.plain(*words),
            Tree::References(words) => builder.references(*words),
            Tree::Literal(words, mask) => builder.literal(*words, *mask),
            Tree::Repeat(times, body) => builder.repeat(*times, |builder| {
                body.iter().for_each(|tree| tree.build(builder));
            }),
        };
    }

    fn expand(&self, out: &mut Vec<bool>) {
        match self {
            Tree::Plain(words) => out.extend(std::iter::repeat_n(false, *words)),
            Tree::References(words) => out.extend(std::iter::repeat_n(true, *words)),
            Tree::Literal(words, mask) => out.extend((0..*words).map(|word| mask >> word & 1 != 0)),
            Tree::Repeat(times, body) => {
                for _ in 0..*times {
                    body.iter().for_each(|tree| tree.expand(out));
                }
            }
        }
    }
}

fn trees(size: usize) -> impl Strategy<Value = Vec<Tree>> {
    let leaf = prop_oneof![
        (0..size).prop_map(Tree::Plain),
        (0..size).prop_map(Tree::References),
        (0..=64usize, any::<u64>()).prop_map(|(words, mask)| {
            Tree::Literal(words, mask & super::super::bits::low_mask(words))
        }),
    ];
    let tree = leaf.prop_recursive(3, 12, 4, |inner| {
        (0..6usize, prop::collection::vec(inner, 0..4))
            .prop_map(|(times, body)| Tree::Repeat(times, body))
    });
    prop::collection::vec(tree, 0..6)
}

fn expand(trees: &[Tree]) -> Vec<bool> {
    let mut bits = Vec::new();
    trees.iter().for_each(|tree| tree.expand(&mut bits));
    bits
}

proptest! {
    #[test]
    fn fixed_masks((words, bits) in mask_strategy(1..400usize), cell_words in 1..500usize) {
        let layout = TypeLayout::mask_bits(words, &bits).unwrap();
        prop_assert_eq!(layout.size_bytes(), words * 8);
        check(&layout, cell_words, &expected(cell_words, |word| word < words && bit(&bits, word)));
    }

    #[test]
    fn repeated_masks(
        (head_words, head) in mask_strategy(0..150usize),
        (elem_words, elem) in mask_strategy(1..150usize),
        cell_words in 1..700usize,
    ) {
        let layout = TypeLayout::repeat_bits(head_words, &head, elem_words, &elem).unwrap();
        let is_pointer = |word: usize| match word.checked_sub(head_words) {
            None => bit(&head, word),
            Some(beyond) => bit(&elem, beyond % elem_words),
        };
        check(&layout, cell_words, &expected(cell_words, is_pointer));
    }

    #[test]
    fn repeats_with_the_same_references_are_equal(
        (head_words, head) in mask_strategy(0..20usize),
        (elem_words, elem) in mask_strategy(1..20usize),
        unrolled in 0..40usize,
        copies in 1..4usize,
    ) {
        let layout = TypeLayout::repeat_bits(head_words, &head, elem_words, &elem).unwrap();
        // The same, with some elements moved to the head and a longer period.
        let longer_head = head_words + unrolled;
        let longer_elem = elem_words * copies;
        let mut head_bits = vec![0; longer_head.div_ceil(64)];
        let mut elem_bits = vec![0; longer_elem.div_ceil(64)];
        for word in layout.pointer_words(longer_head) {
            head_bits[word / 64] |= 1 << (word % 64);
        }
        for word in (0..longer_elem).filter(|word| layout.is_pointer(longer_head + word)) {
            elem_bits[word / 64] |= 1 << (word % 64);
        }
        let other =
            TypeLayout::repeat_bits(longer_head, &head_bits, longer_elem, &elem_bits).unwrap();
        prop_assert_eq!(&layout, &other);
        prop_assert_eq!(layout.fingerprint(), other.fingerprint());
    }

    #[test]
    fn short_programs_are_masks(trees in trees(40), cell_words in 1..300usize) {
        let bits = expand(&trees);
        prop_assume!(bits.len() <= FIXED_WORDS_MAX);
        let mut builder = ProgramBuilder::new();
        trees.iter().for_each(|tree| tree.build(&mut builder));
        let layout = TypeLayout::program(&builder.finish().unwrap()).unwrap();
        prop_assert_eq!(layout.size_bytes(), bits.len() * 8);
        let is_pointer = |word: usize| bits.get(word).copied().unwrap_or(false);
        check(&layout, cell_words, &expected(cell_words, is_pointer));

        let masks: Vec<u64> = bits
            .chunks(64)
            .map(|bits| bits.iter().rev().fold(0, |mask, bit| mask << 1 | u64::from(*bit)))
            .collect();
        if !bits.is_empty() {
            prop_assert_eq!(layout, TypeLayout::mask_bits(bits.len(), &masks).unwrap());
        }
    }

    #[test]
    fn long_programs_are_walked(trees in trees(3000), tail in trees(9), cell_words in 1..20_000usize) {
        let (bits, tail_bits) = (expand(&trees), expand(&tail));
        let mut builder = ProgramBuilder::new();
        builder.references(1).plain(FIXED_WORDS_MAX).references(1);
        trees.iter().for_each(|tree| tree.build(&mut builder));
        if !tail_bits.is_empty() {
            builder.repeat_to_end(|body| tail.iter().for_each(|tree| tree.build(body)));
        }
        let program = builder.finish().unwrap();
        prop_assert_eq!(&Program::from_bytes(&program.to_bytes()).unwrap(), &program);

        let layout = TypeLayout::program(&program).unwrap();
        let words = FIXED_WORDS_MAX + 2 + bits.len() + tail_bits.len();
        prop_assert_eq!(layout.size_bytes(), words * 8);
        let is_program = matches!(layout.encoding(), Encoding::Program { .. });
        prop_assert!(is_program);
        let fixed = FIXED_WORDS_MAX + 2;
        let is_pointer = |word: usize| match word.checked_sub(fixed) {
            None => word == 0 || word == fixed - 1,
            Some(word) => match word.checked_sub(bits.len()) {
                None => bits[word],
                Some(_) if tail_bits.is_empty() => false,
                Some(beyond) => tail_bits[beyond % tail_bits.len()],
            },
        };
        check(&layout, cell_words, &expected(cell_words, is_pointer));

        let mut out = vec![0; layout.bits_words()];
        layout.write_bits(&mut out);
        prop_assert!(layout.is_stored_as(&layout.encoding(), &out));
    }

    #[test]
    fn arbitrary_bytes_are_a_program_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(program) = Program::from_bytes(&bytes) {
            // What was accepted can be walked, and read again.
            let layout = TypeLayout::program(&program).unwrap();
            let references: Vec<usize> = layout.pointer_words(200).collect();
            check(&layout, 200, &references);
            prop_assert_eq!(Program::from_bytes(&program.to_bytes()).unwrap(), program);
        }
    }

    #[test]
    fn arrays_of_programs_repeat_all_their_words(
        trees in trees(400),
        plain in 0..3000usize,
        more in 0..200usize,
        length in 1..4usize,
    ) {
        let mut bits = expand(&trees);
        bits.resize(bits.len() + plain, false);
        prop_assume!(bits.contains(&true));
        let last = bits.iter().rposition(|bit| *bit).expect("there is one");
        let mut builder = ProgramBuilder::new();
        trees.iter().for_each(|tree| tree.build(&mut builder));
        builder.plain(plain);
        let layout = TypeLayout::program(&builder.finish().unwrap()).unwrap();
        prop_assert_eq!(layout.size_bytes(), bits.len() * 8);
        let middle = (last + 1 + bits.len()) / 2;
        // As it is, longer, and cut short behind its last reference.
        for words in [bits.len(), bits.len() + more, middle, last + 1] {
            let element = layout.clone().with_size_bytes(words * 8).unwrap();
            let array = element.array_of().unwrap();
            prop_assert_eq!(array.size_bytes(), words * 8);
            prop_assert!(array.repeats() && !element.repeats());
            let is_pointer = |word: usize| bits.get(word % words).copied().unwrap_or(false);
            check(&array, words * length, &expected(words * length, is_pointer));
        }
        let short = layout.with_size_bytes(last * 8);
        let needed = (last + 1) * 8;
        prop_assert_eq!(short, Err(LayoutError::SizeTooSmall { bytes: last * 8, needed }));
    }

    #[test]
    fn arrays_of_any_mask((words, bits) in mask_strategy(1..200usize), length in 1..12usize) {
        let array = TypeLayout::mask_bits(words, &bits).unwrap().array_of().unwrap();
        let cell_words = words * length;
        check(&array, cell_words, &expected(cell_words, |word| bit(&bits, word % words)));
    }
}

#[test]
fn arrays_of_odd_elements_at_every_length() {
    for (elem_words, mask) in [(3, 0b101), (3, 0b010), (5, 0b10110), (7, 0b0100101)] {
        let array = TypeLayout::mask(elem_words, mask).array_of().unwrap();
        assert_eq!(array, TypeLayout::repeat(elem_words, mask));
        for length in 1..=1000 {
            let cell_words = elem_words * length;
            let oracle = expected(cell_words, |word| mask >> (word % elem_words) & 1 != 0);
            let fast: Vec<usize> = array.encoding().pointer_words(&[], 0, cell_words).collect();
            assert_eq!(fast, oracle, "{length} elements of {elem_words} words");
            if length % 97 == 1 {
                check(&array, cell_words, &oracle);
            }
        }
    }
}

#[test]
fn normal_forms() {
    let encoding =
        |layout: Result<TypeLayout, LayoutError>| format!("{:?}", layout.unwrap().encoding());
    assert_eq!(encoding(TypeLayout::try_mask(5, 0)), "NoScan");
    assert_eq!(encoding(TypeLayout::try_mask(5, 0b00101)), "Mask(101)");
    assert_eq!(encoding(TypeLayout::try_repeat(4, 0b0101)), "Repeat(01…)");
    assert_eq!(encoding(TypeLayout::try_repeat(7, 0)), "NoScan");
    assert_eq!(encoding(TypeLayout::repeat_bits(3, &[0b110], 1, &[1])), "Repeat(0, 1…)");
    assert_eq!(encoding(TypeLayout::repeat_bits(2, &[0b01], 2, &[0])), "Mask(1)");
    assert_eq!(encoding(TypeLayout::mask_bits(100, &[0, 1])), "LongMask(65 words)");
    assert_eq!(
        encoding(TypeLayout::repeat_bits(70, &[1, 1], 1, &[1])),
        "LongRepeat(70 words, 1 words…)"
    );
    let long = vec![1; 80];
    assert_eq!(encoding(TypeLayout::mask_bits(80 * 64, &long)), "Program(791 bytes: 5057 words)");
}

#[test]
fn names_and_sizes_are_no_part_of_equality() {
    let node = TypeLayout::mask(2, 0b01).named("Node");
    let other = TypeLayout::mask(3, 0b001).named("Other");
    assert_eq!(node, other);
    assert_eq!(node.fingerprint(), other.fingerprint());
    assert_eq!((node.name(), other.name()), (Some("Node"), Some("Other")));
    assert_eq!((node.size_bytes(), other.size_bytes()), (16, 24));
    assert_ne!(node, TypeLayout::mask(2, 0b10));
    assert_ne!(node, TypeLayout::repeat(2, 0b01));
    assert_ne!(TypeLayout::noscan(8), TypeLayout::conservative(8));
}

#[test]
fn trace_functions_compare_by_address() {
    let one = TypeLayout::trace(40, trace_nothing);
    assert_eq!(one, TypeLayout::trace(48, trace_nothing));
    assert_ne!(one, TypeLayout::noscan(40));
    assert_ne!(one, one.array_of().unwrap());
    assert_eq!(one.unrolled_mask(5), None);
    assert_eq!(one.pointer_words(5).count(), 0);
    let array = one.array_of().unwrap();
    assert_eq!(array.array_of().unwrap(), array, "arrays of arrays have the same elements");
    assert_eq!(TypeLayout::trace(0, trace_nothing).array_of(), Err(LayoutError::ZeroWords));
}

#[test]
fn conservative_means_every_word() {
    let layout = TypeLayout::conservative(24);
    assert_eq!(layout.encoding().pointer_words(&[], 100, 300).count(), 200);
    assert_eq!(layout.pointer_words(3).count(), 3);
    assert_eq!(layout.unrolled_mask(3), None);
    assert_eq!(layout.array_of().unwrap(), layout);
}

#[test]
fn bad_input_is_an_error() {
    use LayoutError::*;
    assert_eq!(TypeLayout::try_mask(0, 0), Err(ZeroWords));
    assert_eq!(TypeLayout::try_mask(65, 0), Err(TooManyWords { words: 65 }));
    assert_eq!(TypeLayout::try_mask(3, 0b1000), Err(MaskBeyondWords { words: 3 }));
    assert_eq!(TypeLayout::try_repeat(0, 0), Err(ZeroWords));
    assert_eq!(TypeLayout::try_repeat(3, 0b1000), Err(MaskBeyondWords { words: 3 }));
    assert_eq!(TypeLayout::mask_bits(65, &[0]), Err(WrongBitsLength { words: 65, given: 1 }));
    assert_eq!(TypeLayout::mask_bits(usize::MAX, &[0]), Err(TooManyWords { words: usize::MAX }));
    assert_eq!(
        TypeLayout::repeat_bits(usize::MAX, &[], 1, &[1]),
        Err(TooManyWords { words: usize::MAX })
    );
    let pair = TypeLayout::mask(2, 0b10);
    assert_eq!(pair.clone().with_size_bytes(15), Err(SizeTooSmall { bytes: 15, needed: 16 }));
    let long = pair.with_size_bytes(20).unwrap();
    assert_eq!(long.array_of(), Err(MisalignedSize { bytes: 20 }));
    assert_eq!(TypeLayout::noscan(3).array_of(), Ok(TypeLayout::noscan(0)));
}

#[test]
#[should_panic(expected = "mask 0b1000 of 3 words")]
fn mask_panics_with_its_values() {
    TypeLayout::mask(3, 0b1000);
}

#[test]
fn arrays_of_huge_elements_are_programs() {
    // A head of two references and a million plain words.
    let huge = TypeLayout::mask(2, 0b11).with_size_bytes(1_000_002 * 8).unwrap();
    let array = huge.array_of().unwrap();
    let is_pointer = |word: usize| word % 1_000_002 < 2;
    check(&array, 2_500_000, &expected(2_500_000, is_pointer));
    // In the middle of an array of more words than memory has.
    let elements = 1 << 40;
    let from = 1_000_002 * (elements / 2) - 5;
    let mut bits = vec![0; array.bits_words()];
    array.write_bits(&mut bits);
    let middle: Vec<usize> =
        array.encoding().pointer_words(&bits, from, from + 1_000_010).collect();
    assert_eq!(middle, [from + 5, from + 6, from + 1_000_007, from + 1_000_008]);

    let mut builder = ProgramBuilder::new();
    builder.plain(1).repeat(3000, |body| {
        body.literal(5, 0b00110);
    });
    let table = TypeLayout::program(&builder.finish().unwrap()).unwrap();
    let table = table.with_size_bytes(15_010 * 8).unwrap();
    let is_pointer = |word: usize| {
        let word = word % 15_010;
        (1..15_001).contains(&word) && matches!((word - 1) % 5, 1 | 2)
    };
    check(&table.array_of().unwrap(), 50_000, &expected(50_000, is_pointer));
}

#[test]
fn a_program_is_as_large_as_the_words_it_expands_to() {
    let program = |build: &dyn Fn(&mut ProgramBuilder)| {
        let mut builder = ProgramBuilder::new();
        build(&mut builder);
        let program = builder.finish().unwrap();
        assert_eq!(Program::from_bytes(&program.to_bytes()).unwrap(), program);
        TypeLayout::program(&program).unwrap()
    };
    let short = program(&|builder| {
        builder.references(1).plain(9);
    });
    assert_eq!(short, TypeLayout::mask(10, 1));
    assert_eq!(short.size_bytes(), 80);
    assert_eq!(short.array_of().unwrap().pointer_words(25).collect::<Vec<_>>(), [0, 10, 20]);

    let pairs = program(&|builder| {
        builder.repeat(5000, |pair| {
            pair.references(1).plain(1);
        });
    });
    assert_eq!(pairs.size_bytes(), 80_000);
    let is_pointer = |word: usize| word.is_multiple_of(2);
    check(&pairs.array_of().unwrap(), 25_000, &expected(25_000, is_pointer));

    // No references, and none in the part that repeats.
    let plain = program(&|builder| {
        builder.plain(7);
    });
    assert_eq!((plain.is_noscan(), plain.size_bytes()), (true, 56));
    let plain_tail = program(&|builder| {
        builder.references(2).repeat_to_end(|body| {
            body.plain(3);
        });
    });
    assert_eq!(plain_tail, TypeLayout::repeat_bits(2, &[0b11], 3, &[0]).unwrap());
    assert_eq!(plain_tail.size_bytes(), 40);

    // Beyond what is kept as a mask; the words at the end are no part of equality.
    let walked = |plain: usize| {
        program(&|builder| {
            builder.references(1).plain(5000).references(1).plain(plain);
        })
    };
    assert_eq!(walked(0), walked(9));
    assert_eq!(walked(0).fingerprint(), walked(9).fingerprint());
    assert_eq!((walked(0).size_bytes(), walked(9).size_bytes()), (5002 * 8, 5011 * 8));
    // A short mask in front of many plain words stays one.
    let sparse = program(&|builder| {
        builder.references(1).plain(1 << 20);
    });
    assert_eq!((&sparse, sparse.size_bytes()), (&TypeLayout::mask(1, 1), 8 + (8 << 20)));
}

#[test]
fn what_repeats_has_the_references_of_each_element() {
    let check = |layout: TypeLayout, repeats: bool| {
        assert_eq!(layout.repeats(), repeats, "{layout:?}");
        let words = layout.size_bytes() / 8;
        let periodic =
            (0..10 * words).all(|word| layout.is_pointer(word) == layout.is_pointer(word % words));
        assert!(periodic || !repeats, "{layout:?}");
    };
    let sized = |layout: TypeLayout, words: usize| layout.with_size_bytes(words * 8).unwrap();
    check(TypeLayout::noscan(100), true);
    check(TypeLayout::conservative(24), true);
    check(TypeLayout::mask(1, 1), false);
    check(TypeLayout::mask_bits(100, &[0, 1]).unwrap(), false);
    check(TypeLayout::repeat(1, 1), true);
    check(TypeLayout::repeat(3, 0b101), true);
    check(sized(TypeLayout::repeat(3, 0b101), 6), true);
    check(sized(TypeLayout::repeat(3, 0b101), 4), false);
    check(TypeLayout::repeat_bits(1, &[0], 1, &[1]).unwrap(), false);
    // The head is the end of an element.
    check(TypeLayout::repeat_bits(2, &[0b01], 2, &[0b01]).unwrap(), true);
    check(TypeLayout::repeat_bits(0, &[], 100, &[1, 1]).unwrap(), true);
    check(TypeLayout::repeat_bits(1, &[1], 100, &[0, 1]).unwrap(), false);
    let huge = sized(TypeLayout::mask(2, 0b11), 10_000);
    check(huge.clone(), false);
    check(huge.array_of().unwrap(), true);
    check(sized(huge.array_of().unwrap(), 20_000), true);
    check(sized(huge.array_of().unwrap(), 10_001), false);
    let traced = TypeLayout::trace(40, trace_nothing);
    assert!(!traced.repeats() && traced.array_of().unwrap().repeats());
}
