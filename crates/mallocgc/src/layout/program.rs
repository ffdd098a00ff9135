//! Programs: run-length masks of huge types.
//!
//! A program says how to write an object's mask word by word. It is a string of
//! instructions, each a tag (a variable-length number `n << 2 | kind`, seven
//! bits a byte, lowest first, the high bit meaning "more") and what follows it:
//!
//! | kind | instruction | `n` | then |
//! |---|---|---|---|
//! | 0 | plain run | words without references | |
//! | 1 | reference run | words that are all references | |
//! | 2 | literal | words, 1 to 64 | `ceil(n / 8)` bytes of mask, lowest first |
//! | 3 | repeat | times; 0 = to the end of the object | words of the body, bytes of the body, the body |
//!
//! Repeats nest up to [`PROGRAM_DEPTH_MAX`]. A repeat to the end of the object
//! may only be the last instruction, outside others. The body's words are
//! written down, so a walk can step over any number of rounds at once: starting
//! in the middle of a terabyte costs no more than the program's length.
//!
//! Bodies nest instead of referring back to earlier output, so a walk needs no
//! memory but its loop counters.
//!
//! Protection: values only.
//!
//! Not here: walking as part of an encoding (`encoding`).

use crate::fatal;

use super::bits::{Bits, low_mask};
use super::{LayoutError, WORDS_MAX};

/// Longest program, in bytes.
pub const PROGRAM_BYTES_MAX: usize = 1 << 16;

/// Deepest nesting of repeats.
pub const PROGRAM_DEPTH_MAX: usize = 8;

/// A validated program.
///
/// # Invariants
///
/// 1. `code` is well formed, at most [`PROGRAM_BYTES_MAX`] bytes, packed eight
///    to a word, the rest of the last word 0.
/// 2. No body is empty, and every body holds a reference.
/// 3. `words` and `tail_words` are what `code` says, at most [`WORDS_MAX`].
/// 4. The first `scanned_bytes` of `code` are all of it but a plain run at its
///    end; the references they tell lie in the first `scanned_words` words, the
///    last of them is one, unless there is a tail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    code: Vec<u64>,
    bytes: usize,
    words: usize,
    tail_words: usize,
    scanned_bytes: usize,
    scanned_words: usize,
}

impl Program {
    /// Reads a program, which may come from anywhere.
    ///
    /// The result is simplified, so [`to_bytes`](Program::to_bytes) may differ.
    pub fn from_bytes(bytes: &[u8]) -> Result<Program, LayoutError> {
        if bytes.len() > PROGRAM_BYTES_MAX {
            return Err(LayoutError::ProgramTooLong { bytes: bytes.len() });
        }
        let packed = pack(bytes);
        let code = Code { words: &packed, bytes: bytes.len() };
        let mut builder = ProgramBuilder::new();
        parse(code, 0, bytes.len(), 0, &mut builder)?;
        builder.finish()
    }

    /// The program's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.code().to_bytes()
    }

    /// Words the mask expands to, those without references at its end too; or,
    /// when part of it repeats to the end of the object, the words in front of
    /// that part.
    pub fn expanded_words(&self) -> usize {
        self.words
    }

    /// Words of the part that repeats to the end of the object; 0 for none.
    pub fn tail_words(&self) -> usize {
        self.tail_words
    }

    pub(super) fn code(&self) -> Code<'_> {
        Code { words: &self.code, bytes: self.bytes }
    }

    /// The words a scan looks at: up to the last reference; or, with a tail, the
    /// words in front of it.
    pub(super) fn scanned_words(&self) -> usize {
        self.scanned_words
    }

    /// The program up to its last reference, which programs of the same
    /// references share: its bytes, packed, and their number.
    pub(super) fn scanned_code(&self) -> (Vec<u64>, usize) {
        (pack(&self.to_bytes()[..self.scanned_bytes]), self.scanned_bytes)
    }

    /// The expanded mask of both parts, the head's up to its last reference.
    pub(super) fn unroll(&self) -> (Bits, Bits) {
        let mut head = Bits::zeroed(self.scanned_words);
        for (start, mask) in ProgramChunks::new(self.code(), 0, self.scanned_words) {
            head.set_mask(start, mask);
        }
        let mut tail = Bits::zeroed(self.tail_words);
        let end = self.words + self.tail_words;
        for (start, mask) in ProgramChunks::new(self.code(), self.words, end) {
            // The first chunk may start in the head, whose bits are cut off.
            match start.checked_sub(self.words) {
                Some(start) => tail.set_mask(start, mask),
                None => tail.set_mask(0, mask >> (self.words - start)),
            }
        }
        (head, tail)
    }

    /// A program for a mask too long to keep as one.
    pub(super) fn from_bits(bits: &Bits) -> Result<Program, LayoutError> {
        let mut builder = ProgramBuilder::new();
        builder.bits(bits);
        builder.finish()
    }
}

/// One instruction of a program being built.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Instruction {
    Plain(usize),
    References(usize),
    Literal { words: usize, mask: u64 },
    Repeat { times: usize, words: usize, body: Vec<Instruction> },
}

/// Builds a [`Program`], simplifying as it goes: runs are merged, repeats of
/// runs become runs, repeats of one round their body.
///
/// Mistakes are kept and reported by [`finish`](ProgramBuilder::finish).
///
/// # Examples
///
/// ```
/// use mallocgc::layout::ProgramBuilder;
///
/// // struct { header: [usize; 2], rows: [[Pair; 1000]; 1000] }, where the
/// // second word of a Pair is a reference.
/// let mut program = ProgramBuilder::new();
/// program.plain(2);
/// program.repeat(1000, |row| {
///     row.repeat(1000, |pair| {
///         pair.literal(2, 0b10);
///     });
/// });
/// let program = program.finish()?;
/// assert_eq!(program.expanded_words(), 2_000_002);
/// assert!(program.to_bytes().len() < 20);
/// # Ok::<(), mallocgc::layout::LayoutError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProgramBuilder {
    instructions: Vec<Instruction>,
    /// Words so far, and those of the part that repeats to the end.
    words: usize,
    tail: Option<(usize, Vec<Instruction>)>,
    depth: usize,
    error: Option<LayoutError>,
}

impl ProgramBuilder {
    /// A program of no words.
    pub fn new() -> ProgramBuilder {
        ProgramBuilder::default()
    }

    /// `words` words without references.
    pub fn plain(&mut self, words: usize) -> &mut ProgramBuilder {
        self.push(words, Instruction::Plain(words))
    }

    /// `words` words that are all references.
    pub fn references(&mut self, words: usize) -> &mut ProgramBuilder {
        self.push(words, Instruction::References(words))
    }

    /// Up to 64 words with references where `mask` has bits, the first word in
    /// the lowest bit.
    pub fn literal(&mut self, words: usize, mask: u64) -> &mut ProgramBuilder {
        if words > 64 {
            return self.fail(LayoutError::TooManyWords { words });
        }
        if mask & !low_mask(words) != 0 {
            return self.fail(LayoutError::MaskBeyondWords { words });
        }
        self.push(words, Instruction::Literal { words, mask })
    }

    /// What `body` builds, `times` times.
    pub fn repeat(
        &mut self,
        times: usize,
        body: impl FnOnce(&mut ProgramBuilder),
    ) -> &mut ProgramBuilder {
        let Some(body) = self.build_body(body) else { return self };
        let (words, body) = (body.words, body.instructions);
        let Some(total) = words.checked_mul(times).filter(|total| *total <= WORDS_MAX) else {
            return self.fail(LayoutError::TooManyWords { words: usize::MAX });
        };
        match &body[..] {
            _ if times == 0 => self,
            [] => self,
            [Instruction::Plain(_)] => self.plain(total),
            [Instruction::References(_)] => self.references(total),
            _ if times == 1 => {
                for instruction in body {
                    let words = instruction.words();
                    self.push(words, instruction);
                }
                self
            }
            [Instruction::Repeat { times: inner, words, body }]
                if inner.checked_mul(times).is_some() =>
            {
                // One loop around another, and nothing else in it.
                let (times, words, body) = (inner * times, *words, body.clone());
                self.push(total, Instruction::Repeat { times, words, body })
            }
            _ => self.push(total, Instruction::Repeat { times, words, body }),
        }
    }

    /// What `body` builds, as often as fits before the end of the object. Nothing
    /// may follow, and it cannot stand in another repeat.
    pub fn repeat_to_end(&mut self, body: impl FnOnce(&mut ProgramBuilder)) -> &mut ProgramBuilder {
        if self.depth > 0 {
            return self.fail(LayoutError::NotRepeatable);
        }
        let Some(body) = self.build_body(body) else { return self };
        if body.words == 0 {
            return self.fail(LayoutError::ZeroWords);
        }
        if self.tail.is_some() {
            return self.fail(LayoutError::NotRepeatable);
        }
        self.tail = Some((body.words, body.instructions));
        self
    }

    /// The program, or the first mistake.
    pub fn finish(&mut self) -> Result<Program, LayoutError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut instructions = self.instructions.clone();
        let (mut words, mut tail_words) = (self.words, 0);
        match &self.tail {
            // To repeat words without references says no more than one round.
            Some((round, body)) if matches!(body[..], [Instruction::Plain(_)]) => {
                words += round;
                match instructions.last_mut() {
                    Some(Instruction::Plain(run)) => *run += round,
                    _ => instructions.push(Instruction::Plain(*round)),
                }
            }
            Some((words, body)) => {
                tail_words = *words;
                let (words, body) = (*words, body.clone());
                instructions.push(Instruction::Repeat { times: 0, words, body });
            }
            None => {}
        }
        if words + tail_words > WORDS_MAX {
            return Err(LayoutError::TooManyWords { words: words + tail_words });
        }
        let (mut bytes, mut scanned_bytes) = (Vec::new(), 0);
        for instruction in &instructions {
            encode(instruction, &mut bytes);
            if !matches!(instruction, Instruction::Plain(_)) {
                scanned_bytes = bytes.len();
            }
        }
        if bytes.len() > PROGRAM_BYTES_MAX {
            return Err(LayoutError::ProgramTooLong { bytes: bytes.len() });
        }
        let scanned_words = match tail_words {
            0 => words - trailing_plain_words(&instructions),
            _ => words,
        };
        let (code, bytes) = (pack(&bytes), bytes.len());
        Ok(Program { code, bytes, words, tail_words, scanned_bytes, scanned_words })
    }

    /// The instructions of a program without a part repeated to the end, with
    /// plain words added or taken off at its end to make it `words` words.
    pub(super) fn program(&mut self, program: &Program, words: usize) -> &mut ProgramBuilder {
        if program.tail_words != 0 || words < program.scanned_words {
            return self.fail(LayoutError::NotRepeatable);
        }
        let mut read = ProgramBuilder { depth: self.depth, ..ProgramBuilder::default() };
        if let Err(error) = parse(program.code(), 0, program.bytes, self.depth, &mut read) {
            return self.fail(error);
        }
        cut_plain_words(&mut read.instructions, read.words.saturating_sub(words));
        for instruction in read.instructions {
            self.push(instruction.words(), instruction);
        }
        self.plain(words.saturating_sub(read.words))
    }

    /// A mask of any length.
    pub(super) fn bits(&mut self, bits: &Bits) -> &mut ProgramBuilder {
        for (index, mask) in bits.as_slice().iter().enumerate() {
            self.literal((bits.words() - index * 64).min(64), *mask);
        }
        self
    }

    pub(super) fn fail(&mut self, error: LayoutError) -> &mut ProgramBuilder {
        self.error.get_or_insert(error);
        self
    }

    fn build_body(&mut self, body: impl FnOnce(&mut ProgramBuilder)) -> Option<ProgramBuilder> {
        if self.depth == PROGRAM_DEPTH_MAX {
            self.fail(LayoutError::ProgramTooDeep);
            return None;
        }
        let mut builder = ProgramBuilder { depth: self.depth + 1, ..ProgramBuilder::default() };
        body(&mut builder);
        match builder.error {
            Some(error) => {
                self.fail(error);
                None
            }
            None => Some(builder),
        }
    }

    fn push(&mut self, words: usize, instruction: Instruction) -> &mut ProgramBuilder {
        use Instruction::{Literal, Plain, References};
        if self.tail.is_some() {
            return self.fail(LayoutError::NotRepeatable);
        }
        if words == 0 {
            return self;
        }
        match self.words.checked_add(words) {
            Some(total) if total <= WORDS_MAX => self.words = total,
            _ => return self.fail(LayoutError::TooManyWords { words: usize::MAX }),
        }
        let instruction = match instruction {
            Literal { words, mask: 0 } => Plain(words),
            Literal { words, mask } if mask == low_mask(words) => References(words),
            other => other,
        };
        match (self.instructions.last_mut(), &instruction) {
            (Some(Plain(run)), Plain(more)) | (Some(References(run)), References(more)) => {
                *run += more;
            }
            (Some(Literal { words, mask }), Literal { words: more, mask: bits })
                if *words + more <= 64 =>
            {
                *mask |= bits << *words;
                *words += more;
            }
            _ => self.instructions.push(instruction),
        }
        self
    }
}

impl Instruction {
    fn words(&self) -> usize {
        match self {
            Instruction::Plain(words) | Instruction::References(words) => *words,
            Instruction::Literal { words, .. } => *words,
            Instruction::Repeat { times, words, .. } => times * words,
        }
    }
}

/// Words after the last reference.
fn trailing_plain_words(instructions: &[Instruction]) -> usize {
    match instructions {
        [] => 0,
        [before @ .., Instruction::Plain(run)] => run + trailing_plain_words(before),
        [.., Instruction::References(_)] => 0,
        [.., Instruction::Literal { words, mask }] => words - (mask.ilog2() as usize + 1),
        // By invariant 2 the last round has a reference.
        [.., Instruction::Repeat { body, .. }] => trailing_plain_words(body),
    }
}

/// Takes off the last `words` words, none of them a reference.
fn cut_plain_words(instructions: &mut Vec<Instruction>, mut words: usize) {
    while words > 0 {
        let Some(last) = instructions.pop() else { return };
        match last {
            Instruction::Plain(run) => {
                let cut = run.min(words);
                words -= cut;
                if run > cut {
                    instructions.push(Instruction::Plain(run - cut));
                }
            }
            Instruction::Repeat { times, words: round, body } => {
                // The last round is written out and is the only one cut.
                let mut last_round = body.clone();
                match times {
                    1 => {}
                    2 => instructions.extend(body),
                    _ => instructions.push(Instruction::Repeat {
                        times: times - 1,
                        words: round,
                        body,
                    }),
                }
                cut_plain_words(&mut last_round, words);
                instructions.extend(last_round);
                return;
            }
            Instruction::Literal { words: whole, mask } => {
                instructions.push(Instruction::Literal { words: whole - words, mask });
                return;
            }
            Instruction::References(_) => {
                instructions.push(last);
                return;
            }
        }
    }
}

fn encode(instruction: &Instruction, out: &mut Vec<u8>) {
    let mut tag = |n: usize, kind: usize| number(n << 2 | kind, out);
    match instruction {
        Instruction::Plain(words) => tag(*words, PLAIN),
        Instruction::References(words) => tag(*words, REFERENCES),
        Instruction::Literal { words, mask } => {
            tag(*words, LITERAL);
            out.extend(&mask.to_le_bytes()[..words.div_ceil(8)]);
        }
        Instruction::Repeat { times, words, body } => {
            tag(*times, REPEAT);
            number(*words, out);
            let mut bytes = Vec::new();
            for instruction in body {
                encode(instruction, &mut bytes);
            }
            number(bytes.len(), out);
            out.extend(bytes);
        }
    }
}

const PLAIN: usize = 0;
const REFERENCES: usize = 1;
const LITERAL: usize = 2;
const REPEAT: usize = 3;

/// Appends a number, seven bits a byte.
fn number(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn pack(bytes: &[u8]) -> Vec<u64> {
    bytes
        .chunks(8)
        .map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        })
        .collect()
}

/// Feeds the instructions between two offsets to a builder.
fn parse(
    code: Code<'_>,
    from: usize,
    end: usize,
    depth: usize,
    builder: &mut ProgramBuilder,
) -> Result<(), LayoutError> {
    let mut at = from;
    while at < end {
        let malformed = LayoutError::ProgramMalformed { byte: at };
        let (operation, next) = code.read(at, end).ok_or(malformed)?;
        at = next;
        match operation {
            Operation::Plain(words) => builder.plain(words),
            Operation::References(words) => builder.references(words),
            Operation::Literal { words, mask } => builder.literal(words, mask),
            Operation::Repeat { times, words, end: body_end } => {
                if depth == PROGRAM_DEPTH_MAX {
                    return Err(LayoutError::ProgramTooDeep);
                }
                at = body_end;
                let mut inner = Ok(());
                let body = |body: &mut ProgramBuilder| {
                    inner = parse(code, next, body_end, depth + 1, body);
                    if body.words != words {
                        inner = inner.and(Err(malformed));
                    }
                };
                match times {
                    0 if depth > 0 || body_end != end => return Err(malformed),
                    0 => builder.repeat_to_end(body),
                    _ => builder.repeat(times, body),
                };
                inner?;
                &mut *builder
            }
        };
        if let Some(error) = builder.error {
            return Err(error);
        }
    }
    Ok(())
}

/// One instruction as it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Plain(usize),
    References(usize),
    Literal {
        words: usize,
        mask: u64,
    },
    /// The body lies between the next instruction's offset and `end`.
    Repeat {
        times: usize,
        words: usize,
        end: usize,
    },
}

/// A program's bytes, packed eight to a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code<'a> {
    words: &'a [u64],
    bytes: usize,
}

impl<'a> Code<'a> {
    pub(super) fn new(words: &'a [u64], bytes: usize) -> Code<'a> {
        Code { words, bytes }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        (0..self.bytes).map(|at| self.byte(at)).collect()
    }

    fn byte(self, at: usize) -> u8 {
        (self.words[at / 8] >> (at % 8 * 8)) as u8
    }

    fn number(self, at: &mut usize, end: usize) -> Option<usize> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            if *at >= end {
                return None;
            }
            let byte = self.byte(*at);
            *at += 1;
            value |= (byte as usize & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The instruction at `at` and the offset of the one after it, or of a
    /// repeat's body. `None` when it is malformed or does not end by `end`.
    fn read(self, mut at: usize, end: usize) -> Option<(Operation, usize)> {
        let tag = self.number(&mut at, end)?;
        let n = tag >> 2;
        let operation = match tag & 3 {
            PLAIN => Operation::Plain(n),
            REFERENCES => Operation::References(n),
            LITERAL => {
                let bytes = n.div_ceil(8);
                if !(1..=64).contains(&n) || bytes > end - at {
                    return None;
                }
                let mask = (0..bytes)
                    .fold(0, |mask, index| mask | (self.byte(at + index) as u64) << (8 * index));
                if mask & !low_mask(n) != 0 {
                    return None;
                }
                at += bytes;
                Operation::Literal { words: n, mask }
            }
            _ => {
                let words = self.number(&mut at, end)?;
                let bytes = self.number(&mut at, end)?;
                if words == 0 || words > WORDS_MAX || bytes > end - at {
                    return None;
                }
                Operation::Repeat { times: n, words, end: at + bytes }
            }
        };
        Some((operation, at))
    }

    /// As [`read`](Code::read), of a program that has been validated.
    fn read_valid(self, at: usize) -> (Operation, usize) {
        match self.read(at, self.bytes) {
            Some(read) => read,
            None => fatal!("layout program malformed at byte {at} of {}", self.bytes),
        }
    }

    /// Whether word `word` is a reference: by interpretation, from the start,
    /// nothing skipped but what does not contain the word. The oracle of
    /// [`ProgramChunks`].
    pub(super) fn is_pointer(self, word: usize) -> bool {
        self.is_pointer_in(0, self.bytes, word)
    }

    fn is_pointer_in(self, mut at: usize, end: usize, mut word: usize) -> bool {
        while at < end {
            let (operation, next) = self.read_valid(at);
            at = next;
            match operation {
                Operation::Plain(words) if word < words => return false,
                Operation::References(words) if word < words => return true,
                Operation::Literal { words, mask } if word < words => return mask >> word & 1 != 0,
                Operation::Repeat { times, words, end } if times == 0 || word < times * words => {
                    return self.is_pointer_in(next, end, word % words);
                }
                Operation::Plain(words)
                | Operation::References(words)
                | Operation::Literal { words, .. } => word -= words,
                Operation::Repeat { times, words, end } => {
                    word -= times * words;
                    at = end;
                }
            }
        }
        false
    }
}

/// A repeat that a walk is inside of.
#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    body: usize,
    rounds_left: usize,
    outer_end: usize,
}

/// A walk through a program: pairs of a word's index and a mask of up to 64
/// words from there on, ascending, none empty.
#[derive(Clone, Debug)]
pub(super) struct ProgramChunks<'a> {
    code: Code<'a>,
    from: usize,
    limit: usize,
    at: usize,
    end: usize,
    word: usize,
    references_left: usize,
    frames: [Frame; PROGRAM_DEPTH_MAX],
    depth: usize,
}

impl<'a> ProgramChunks<'a> {
    /// The references among the words `from..limit`.
    pub(super) fn new(code: Code<'a>, from: usize, limit: usize) -> ProgramChunks<'a> {
        ProgramChunks {
            code,
            from,
            limit,
            at: 0,
            end: code.bytes,
            word: 0,
            references_left: 0,
            frames: [Frame::default(); PROGRAM_DEPTH_MAX],
            depth: 0,
        }
    }

    /// Takes the next `words` words; their mask, cut to the range, if not empty.
    #[inline]
    fn take(&mut self, words: usize, mask: u64) -> Option<(usize, u64)> {
        let start = self.word;
        self.word += words;
        let mut mask = mask & low_mask(self.limit.saturating_sub(start));
        if start < self.from {
            mask &= !low_mask(self.from - start);
        }
        (mask != 0).then_some((start, mask))
    }

    /// Words still missing to the first one asked for.
    fn missing(&self) -> usize {
        self.from.saturating_sub(self.word)
    }
}

impl Iterator for ProgramChunks<'_> {
    type Item = (usize, u64);

    fn next(&mut self) -> Option<(usize, u64)> {
        while self.word < self.limit {
            if self.references_left > 0 {
                let words = self.references_left.min(64);
                self.references_left -= words;
                match self.take(words, low_mask(words)) {
                    Some(chunk) => return Some(chunk),
                    None => continue,
                }
            }
            if self.at == self.end {
                // The end of the program, or of a round.
                let frame = self.frames[..self.depth].last_mut()?;
                if frame.rounds_left > 0 {
                    frame.rounds_left -= 1;
                    self.at = frame.body;
                } else {
                    self.end = frame.outer_end;
                    self.depth -= 1;
                }
                continue;
            }
            let (operation, next) = self.code.read_valid(self.at);
            self.at = next;
            match operation {
                Operation::Plain(words) => self.word += words,
                Operation::References(words) => {
                    let skipped = self.missing().min(words);
                    self.word += skipped;
                    self.references_left = words - skipped;
                }
                Operation::Literal { words, mask } => {
                    if let Some(chunk) = self.take(words, mask) {
                        return Some(chunk);
                    }
                }
                Operation::Repeat { times, words, end } => {
                    let rounds = if times == 0 { usize::MAX } else { times };
                    let skipped = (self.missing() / words).min(rounds);
                    self.word += skipped * words;
                    if skipped == rounds {
                        self.at = end;
                    } else {
                        let rounds_left = rounds - skipped - 1;
                        self.frames[self.depth] =
                            Frame { body: next, rounds_left, outer_end: self.end };
                        self.depth += 1;
                        self.end = end;
                    }
                }
            }
        }
        None
    }
}
