//! Profiles as files that `go tool pprof` opens.
//!
//! The format is the protocol buffer `perftools.profiles.Profile`; the few
//! kinds of fields it uses are written by hand (`Message`). Values per
//! sample are those of the origin's heap profile, in its order: objects
//! allocated, bytes allocated, objects in use, bytes in use, all unskewed. A
//! sample's label `bytes` is the size of its objects.
//!
//! With the feature `profile` the file is gzipped and names every function,
//! inlined ones too. Without it the file holds addresses and the mappings they
//! belong to, uncompressed; pprof opens that as well, and finds the names
//! itself while the program's file is where it was.
//!
//! Where names are known, the innermost frames that belong to this library are
//! left out, so that a stack begins with the function that asked for memory.
//! (pprof could drop them by a pattern, but it drops all that they call as
//! well, and user code runs inside functions of this library.)
//!
//! Writing allocates and reads files: not while the world is stopped.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::os::backtrace::{Mapping, executable_mappings};

use super::profile::{ProfileSnapshot, ProfileValues};
use super::symbol::{self, Symbol, Symbols};

/// Function that samples without a stack are shown in.
const OTHER_STACKS: &str = "mallocgc: other stacks (table of the profile is full)";

/// Numbers of the fields of `perftools.profiles.Profile` and its parts.
mod field {
    pub(super) mod profile {
        pub(in super::super) const SAMPLE_TYPE: u32 = 1;
        pub(in super::super) const SAMPLE: u32 = 2;
        pub(in super::super) const MAPPING: u32 = 3;
        pub(in super::super) const LOCATION: u32 = 4;
        pub(in super::super) const FUNCTION: u32 = 5;
        pub(in super::super) const STRING_TABLE: u32 = 6;
        pub(in super::super) const TIME_NANOS: u32 = 9;
        pub(in super::super) const PERIOD_TYPE: u32 = 11;
        pub(in super::super) const PERIOD: u32 = 12;
        pub(in super::super) const DEFAULT_SAMPLE_TYPE: u32 = 14;
    }
    pub(super) mod value_type {
        pub(in super::super) const TYPE: u32 = 1;
        pub(in super::super) const UNIT: u32 = 2;
    }
    pub(super) mod sample {
        pub(in super::super) const LOCATION_ID: u32 = 1;
        pub(in super::super) const VALUE: u32 = 2;
        pub(in super::super) const LABEL: u32 = 3;
    }
    pub(super) mod label {
        pub(in super::super) const KEY: u32 = 1;
        pub(in super::super) const NUM: u32 = 3;
    }
    pub(super) mod mapping {
        pub(in super::super) const ID: u32 = 1;
        pub(in super::super) const START: u32 = 2;
        pub(in super::super) const LIMIT: u32 = 3;
        pub(in super::super) const OFFSET: u32 = 4;
        pub(in super::super) const FILENAME: u32 = 5;
        /// Functions, file names, line numbers and inlined frames: 7 to 10.
        pub(in super::super) const HAS_SYMBOLS: core::ops::RangeInclusive<u32> = 7..=10;
    }
    pub(super) mod location {
        pub(in super::super) const ID: u32 = 1;
        pub(in super::super) const MAPPING_ID: u32 = 2;
        pub(in super::super) const ADDRESS: u32 = 3;
        pub(in super::super) const LINE: u32 = 4;
    }
    pub(super) mod line {
        pub(in super::super) const FUNCTION_ID: u32 = 1;
        pub(in super::super) const LINE: u32 = 2;
    }
    pub(super) mod function {
        pub(in super::super) const ID: u32 = 1;
        pub(in super::super) const NAME: u32 = 2;
        pub(in super::super) const SYSTEM_NAME: u32 = 3;
        pub(in super::super) const FILENAME: u32 = 4;
    }
}

impl ProfileSnapshot {
    /// Writes this profile for `go tool pprof`; see the module's header for
    /// what the feature `profile` adds.
    ///
    /// ```
    /// use mallocgc::observe::{Profile, ProfileConfig};
    ///
    /// let profile = Profile::new(ProfileConfig::default());
    /// let mut file = Vec::new(); // or a std::fs::File
    /// profile.snapshot(512 << 10).write_pprof(&mut file)?;
    /// assert!(!file.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_pprof(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let time_nanos = since_1970.map_or(0, |time| time.as_nanos() as u64);
        let bytes = encode(self, &executable_mappings(), time_nanos, Symbols::new());
        compress(&bytes, out)
    }
}

#[cfg(feature = "profile")]
fn compress(bytes: &[u8], out: &mut dyn io::Write) -> io::Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    io::Write::write_all(&mut encoder, bytes)?;
    encoder.finish().map(drop)
}

#[cfg(not(feature = "profile"))]
fn compress(bytes: &[u8], out: &mut dyn io::Write) -> io::Result<()> {
    out.write_all(bytes)
}

/// The profile as an uncompressed message.
fn encode(
    snapshot: &ProfileSnapshot,
    mappings: &[Mapping],
    time_nanos: u64,
    symbols: Symbols,
) -> Vec<u8> {
    let mut file = File {
        message: Message::default(),
        strings: Strings::default(),
        functions: HashMap::new(),
        locations: HashMap::new(),
        symbolised: vec![false; mappings.len()],
        mappings,
        symbols,
    };
    file.strings.number(""); // string 0 is the empty one, by the format
    file.value_type(field::profile::SAMPLE_TYPE, "alloc_objects", "count");
    file.value_type(field::profile::SAMPLE_TYPE, "alloc_space", "bytes");
    file.value_type(field::profile::SAMPLE_TYPE, "inuse_objects", "count");
    file.value_type(field::profile::SAMPLE_TYPE, "inuse_space", "bytes");
    for record in &snapshot.records {
        let size = record.alloc_bytes.checked_div(record.allocs).unwrap_or(0);
        file.sample(record.stack.as_deref(), size, record.unskewed(snapshot.rate));
    }
    file.write_mappings();
    let in_use = file.strings.number("inuse_space");
    file.message.number(field::profile::DEFAULT_SAMPLE_TYPE, in_use);
    file.message.number(field::profile::TIME_NANOS, time_nanos);
    file.value_type(field::profile::PERIOD_TYPE, "space", "bytes");
    file.message.number(field::profile::PERIOD, snapshot.rate);
    for text in &file.strings.in_order {
        file.message.bytes(field::profile::STRING_TABLE, text.as_bytes());
    }
    file.message.0
}

/// A profile being written: the message and what was given numbers so far.
struct File<'a> {
    message: Message,
    strings: Strings,
    /// Numbers of functions by (name, linker's name, file).
    functions: HashMap<(u64, u64, u64), u64>,
    /// Numbers of locations by return address (0 stands for [`OTHER_STACKS`])
    /// and how many of its innermost functions are left out.
    locations: HashMap<(usize, usize), u64>,
    mappings: &'a [Mapping],
    /// Whether some address of the mapping was resolved.
    symbolised: Vec<bool>,
    symbols: Symbols,
}

impl File<'_> {
    fn value_type(&mut self, number: u32, kind: &str, unit: &str) {
        let mut message = Message::default();
        message.number(field::value_type::TYPE, self.strings.number(kind));
        message.number(field::value_type::UNIT, self.strings.number(unit));
        self.message.message(number, message);
    }

    fn sample(&mut self, stack: Option<&[usize]>, size: u64, values: ProfileValues) {
        let mut message = Message::default();
        let stack = stack.unwrap_or(&[0]);
        let (frames, mut functions) = self.symbols.own_frames(stack);
        let mut locations = Vec::with_capacity(stack.len() - frames);
        for &frame in &stack[frames..] {
            locations.push(self.location(frame, functions));
            functions = 0;
        }
        message.packed(field::sample::LOCATION_ID, &locations);
        let ProfileValues { alloc_objects, alloc_bytes, inuse_objects, inuse_bytes } = values;
        let values = [alloc_objects, alloc_bytes, inuse_objects, inuse_bytes];
        message.packed(field::sample::VALUE, &values);
        let mut label = Message::default();
        label.number(field::label::KEY, self.strings.number("bytes"));
        label.number(field::label::NUM, size);
        message.message(field::sample::LABEL, label);
        self.message.message(field::profile::SAMPLE, message);
    }

    /// The number of the location of a return address, without its `skip`
    /// innermost functions; writes it when it is new.
    fn location(&mut self, return_address: usize, skip: usize) -> u64 {
        let next = self.locations.len() as u64 + 1;
        let id = *self.locations.entry((return_address, skip)).or_insert(next);
        if id != next {
            return id;
        }
        let mut message = Message::default();
        message.number(field::location::ID, id);
        let symbols = if return_address == 0 {
            Arc::new([Symbol::unplaced(OTHER_STACKS)])
        } else {
            let address = symbol::call_address(return_address) as u64;
            let symbols = self.symbols.of(return_address);
            let inside = |mapping: &Mapping| (mapping.start..mapping.limit).contains(&address);
            if let Some(index) = self.mappings.iter().position(inside) {
                self.symbolised[index] |= !symbols.is_empty();
                message.number(field::location::MAPPING_ID, index as u64 + 1);
            }
            message.number(field::location::ADDRESS, address);
            symbols
        };
        for symbol in &symbols[skip..] {
            let mut line = Message::default();
            line.number(field::line::FUNCTION_ID, self.function(symbol));
            line.number(field::line::LINE, symbol.line.into());
            message.message(field::location::LINE, line);
        }
        self.message.message(field::profile::LOCATION, message);
        id
    }

    /// The number of a function; writes it when it is new.
    fn function(&mut self, symbol: &Symbol) -> u64 {
        let name = self.strings.number(&symbol.name);
        let linker_name = self.strings.number(&symbol.linker_name);
        let file = self.strings.number(&symbol.file);
        let next = self.functions.len() as u64 + 1;
        let id = *self.functions.entry((name, linker_name, file)).or_insert(next);
        if id == next {
            let mut message = Message::default();
            message.number(field::function::ID, id);
            message.number(field::function::NAME, name);
            message.number(field::function::SYSTEM_NAME, linker_name);
            message.number(field::function::FILENAME, file);
            self.message.message(field::profile::FUNCTION, message);
        }
        id
    }

    fn write_mappings(&mut self) {
        for (index, mapping) in self.mappings.iter().enumerate() {
            let mut message = Message::default();
            message.number(field::mapping::ID, index as u64 + 1);
            message.number(field::mapping::START, mapping.start);
            message.number(field::mapping::LIMIT, mapping.limit);
            message.number(field::mapping::OFFSET, mapping.offset);
            message.number(field::mapping::FILENAME, self.strings.number(&mapping.path));
            if self.symbolised[index] {
                // So that pprof does not look for names itself.
                for known in field::mapping::HAS_SYMBOLS {
                    message.number(known, 1);
                }
            }
            self.message.message(field::profile::MAPPING, message);
        }
    }
}

/// The strings of a profile, each once, numbered from 0.
#[derive(Default)]
struct Strings {
    numbers: HashMap<String, u64>,
    in_order: Vec<String>,
}

impl Strings {
    fn number(&mut self, text: &str) -> u64 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.in_order.len() as u64;
        self.numbers.insert(text.to_owned(), number);
        self.in_order.push(text.to_owned());
        number
    }
}

/// A protocol buffer message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// Seven bits to a byte, the lowest first; the top bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A number; 0 is what a missing field means, and is not written.
    fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(value);
        }
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u32, message: Message) {
        self.bytes(field, &message.0);
    }

    fn packed(&mut self, field: u32, values: &[u64]) {
        let mut packed = Message::default();
        values.iter().for_each(|&value| packed.varint(value));
        self.message(field, packed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::{Profile, ProfileConfig, ProfileRecord};
    use super::*;
    use crate::os::backtrace::capture;

    /// A field of a message, as read back.
    #[derive(Clone, PartialEq, Debug)]
    enum Value {
        Number(u64),
        Bytes(Vec<u8>),
    }

    fn read_varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (&byte, rest) = bytes.split_first().expect("a varint ends");
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    /// Reads a message: fields by number, in their order.
    struct Decoded(Vec<(u64, Value)>);

    impl Decoded {
        fn new(mut bytes: &[u8]) -> Decoded {
            let mut fields = Vec::new();
            while !bytes.is_empty() {
                let key = read_varint(&mut bytes);
                let value = match key & 7 {
                    0 => Value::Number(read_varint(&mut bytes)),
                    2 => {
                        let length = read_varint(&mut bytes) as usize;
                        let (content, rest) = bytes.split_at(length);
                        bytes = rest;
                        Value::Bytes(content.to_vec())
                    }
                    kind => panic!("kind {kind} of field {}", key >> 3),
                };
                fields.push((key >> 3, value));
            }
            Decoded(fields)
        }

        fn all(&self, field: u32) -> impl Iterator<Item = &[u8]> {
            self.0.iter().filter_map(move |(number, value)| match value {
                Value::Bytes(bytes) if *number == u64::from(field) => Some(&bytes[..]),
                _ => None,
            })
        }

        fn messages(&self, field: u32) -> Vec<Decoded> {
            self.all(field).map(Decoded::new).collect()
        }

        fn number(&self, field: u32) -> u64 {
            let mut found = self.0.iter().filter(|(number, _)| *number == u64::from(field));
            match found.next() {
                Some((_, Value::Number(value))) => *value,
                None => 0,
                other => panic!("{other:?}"),
            }
        }

        fn packed(&self, field: u32) -> Vec<u64> {
            let mut bytes = self.all(field).next().expect("the field is there");
            let mut values = Vec::new();
            while !bytes.is_empty() {
                values.push(read_varint(&mut bytes));
            }
            values
        }

        fn strings(&self) -> Vec<String> {
            self.all(field::profile::STRING_TABLE)
                .map(|bytes| String::from_utf8(bytes.to_vec()).expect("strings are UTF-8"))
                .collect()
        }
    }

    /// Names by return address: 0x1xx lies in an inlined function of its caller.
    fn imagined(return_address: usize) -> Vec<Symbol> {
        let symbol = |name: &str, line| Symbol {
            name: name.into(),
            linker_name: format!("_R{name}"),
            file: "src/main.rs".into(),
            line,
        };
        match return_address {
            0x101 => vec![symbol("small", 5), symbol("main", 9)],
            0x201 => vec![symbol("main", 12)],
            _ => vec![],
        }
    }

    fn record(stack: Option<&[usize]>, allocs: u64, size: u64, frees: u64) -> ProfileRecord {
        ProfileRecord {
            stack: stack.map(<[usize]>::to_vec),
            allocs,
            alloc_bytes: allocs * size,
            frees,
            free_bytes: frees * size,
        }
    }

    #[test]
    fn the_message_says_what_the_snapshot_says() {
        let snapshot = ProfileSnapshot {
            rate: 512 << 10,
            records: vec![
                record(Some(&[0x101, 0x201]), 4, 1024, 0),
                record(Some(&[0x301, 0x201]), 1, 512 << 10, 1),
                record(None, 2, 1 << 30, 0),
            ],
        };
        let mapping = |start, path: &str| Mapping {
            start,
            limit: start + 0x200,
            offset: 64,
            path: path.into(),
        };
        let mappings = [mapping(0x100, "/bin/program"), mapping(0x300, "/lib/other.so")];
        let bytes = encode(&snapshot, &mappings, 77, Symbols::from_resolver(imagined));
        let profile = Decoded::new(&bytes);
        let strings = profile.strings();
        let text = |number: u64| strings[number as usize].as_str();
        assert_eq!(text(0), "");

        let types: Vec<_> = profile
            .messages(field::profile::SAMPLE_TYPE)
            .iter()
            .map(|kind| (text(kind.number(1)), text(kind.number(2))))
            .collect();
        assert_eq!(
            types,
            [
                ("alloc_objects", "count"),
                ("alloc_space", "bytes"),
                ("inuse_objects", "count"),
                ("inuse_space", "bytes")
            ]
        );
        assert_eq!(profile.number(field::profile::PERIOD), 512 << 10);
        assert_eq!(profile.number(field::profile::TIME_NANOS), 77);
        assert_eq!(text(profile.number(field::profile::DEFAULT_SAMPLE_TYPE)), "inuse_space");

        let samples = profile.messages(field::profile::SAMPLE);
        let values: Vec<_> = samples.iter().map(|s| s.packed(field::sample::VALUE)).collect();
        assert_eq!(values[0], [2050, 2_099_200, 2050, 2_099_200]);
        assert_eq!(values[1], [1, 829_411, 0, 0]);
        assert_eq!(values[2], [2, 2 << 30, 2, 2 << 30]);
        let label = &samples[1].messages(field::sample::LABEL)[0];
        assert_eq!((text(label.number(1)), label.number(3)), ("bytes", 512 << 10));

        let functions = profile.messages(field::profile::FUNCTION);
        let name = |id: u64| {
            let mut found = functions.iter().filter(|function| function.number(1) == id);
            text(found.next().expect("the function is written").number(2))
        };
        let locations = profile.messages(field::profile::LOCATION);
        /// Mapping, address, and lines of a location.
        type Frame<'a> = (u64, u64, Vec<(&'a str, u64)>);
        let stacks: Vec<Vec<Frame<'_>>> = samples
            .iter()
            .map(|sample| {
                let ids = sample.packed(field::sample::LOCATION_ID);
                let found = ids.iter().map(|&id| {
                    let mut found = locations.iter().filter(|location| location.number(1) == id);
                    let location = found.next().expect("the location is written");
                    assert!(found.next().is_none(), "location {id} is written once");
                    let lines = location.messages(field::location::LINE);
                    let lines = lines.iter().map(|line| (name(line.number(1)), line.number(2)));
                    (location.number(2), location.number(3), lines.collect())
                });
                found.collect()
            })
            .collect();
        let main = (1, 0x200, vec![("main", 12)]);
        assert_eq!(stacks[0], [(1, 0x100, vec![("small", 5), ("main", 9)]), main.clone()]);
        assert_eq!(stacks[1], [(2, 0x300, vec![]), main]);
        assert_eq!(stacks[2], [(0, 0, vec![(OTHER_STACKS, 0)])]);
        assert_eq!(functions.len(), 3, "each function once");

        let mappings = profile.messages(field::profile::MAPPING);
        assert_eq!(text(mappings[0].number(5)), "/bin/program");
        assert_eq!((mappings[0].number(7), mappings[1].number(7)), (1, 0), "known functions");
    }

    #[test]
    fn frames_of_this_library_are_left_out() {
        let resolve = |return_address: usize| {
            let names: &[&str] = match return_address {
                1 => &["mallocgc::os::backtrace::capture"],
                2 => &["mallocgc::raw::mutator::Mutator::mallocgc", "program::work"],
                _ => &["program::main"],
            };
            names.iter().map(|name| Symbol::unplaced(name)).collect()
        };
        let snapshot = ProfileSnapshot {
            rate: 1,
            records: vec![record(Some(&[1, 2, 3]), 1, 16, 0), record(Some(&[3, 2]), 1, 16, 0)],
        };
        let profile = Decoded::new(&encode(&snapshot, &[], 0, Symbols::from_resolver(resolve)));
        let lines = |id: &u64| {
            let locations = profile.messages(field::profile::LOCATION);
            locations[*id as usize - 1].messages(field::location::LINE).len()
        };
        let samples = profile.messages(field::profile::SAMPLE);
        let lines: Vec<Vec<_>> = samples
            .iter()
            .map(|sample| sample.packed(field::sample::LOCATION_ID).iter().map(lines).collect())
            .collect();
        // Address 2 is without its inlined part at the inner end, and with it elsewhere.
        assert_eq!(lines, [[1, 1], [1, 2]]);
    }

    #[test]
    fn varints_are_read_back() {
        for shift in 0..64 {
            for value in [1 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut message = Message::default();
                message.varint(value);
                assert_eq!(read_varint(&mut &message.0[..]), value);
            }
        }
    }

    #[inline(never)]
    fn keeps_what_it_allocates(profile: &Profile, size: usize) {
        let mut frames = [0; 32];
        let depth = capture(&mut frames, 0);
        profile.record_alloc(&frames[..depth], size);
        std::hint::black_box(profile);
    }

    #[inline(never)]
    fn drops_what_it_allocates(profile: &Profile, size: usize) {
        let mut frames = [0; 32];
        let depth = capture(&mut frames, 0);
        let bucket = profile.record_alloc(&frames[..depth], size);
        profile.record_free(bucket, size);
        std::hint::black_box(profile);
    }

    /// The MemoryProfiler test of the origin, on synthetic objects: 32 kept ones
    /// of 32 bytes, 1024 transient ones of 1 KiB, one of 2 MiB.
    fn real_profile() -> ProfileSnapshot {
        let profile = Profile::new(ProfileConfig::default());
        // The compiler must not unroll: each copy of a call would be a stack of its own.
        let times = std::hint::black_box;
        (0..times(32)).for_each(|_| keeps_what_it_allocates(&profile, 32));
        (0..times(1024)).for_each(|_| drops_what_it_allocates(&profile, 1024));
        drops_what_it_allocates(&profile, 2 << 20);
        for _ in 0..3 {
            profile.begin_cycle();
            profile.publish();
        }
        profile.snapshot(1)
    }

    fn decompress(file: &[u8]) -> Vec<u8> {
        #[cfg(feature = "profile")]
        {
            let mut bytes = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(file);
            io::Read::read_to_end(&mut decoder, &mut bytes).expect("the file is gzipped");
            bytes
        }
        #[cfg(not(feature = "profile"))]
        file.to_vec()
    }

    #[test]
    fn memory_profiler() {
        let snapshot = real_profile();
        let total = snapshot.total();
        assert_eq!((total.inuse_objects, total.inuse_bytes), (32, 32 * 32));
        assert_eq!(total.alloc_objects, 32 + 1024 + 1);
        assert_eq!(total.alloc_bytes, 32 * 32 + 1024 * 1024 + (2 << 20));

        let mut file = Vec::new();
        snapshot.write_pprof(&mut file).expect("memory takes everything");
        let profile = Decoded::new(&decompress(&file));
        let samples = profile.messages(field::profile::SAMPLE);
        let mut values: Vec<_> = samples.iter().map(|s| s.packed(field::sample::VALUE)).collect();
        values.sort();
        assert_eq!(
            values,
            [vec![1, 2 << 20, 0, 0], vec![32, 1024, 32, 1024], vec![1024, 1 << 20, 0, 0]]
        );
        #[cfg(feature = "profile")]
        for name in ["keeps_what_it_allocates", "drops_what_it_allocates"] {
            let name = format!("mallocgc::observe::pprof::tests::{name}");
            assert!(profile.strings().contains(&name), "{:?}", profile.strings());
        }
    }

    /// Asks the origin's own reader; passes without a word when it is not installed.
    #[test]
    #[cfg(feature = "profile")]
    fn go_tool_pprof_opens_it_with_function_names() {
        use std::process::Command;

        let available = Command::new("go").arg("version").output();
        if !available.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: go is not installed");
            return;
        }
        let path = std::env::temp_dir().join(format!("mallocgc-{}.pb.gz", std::process::id()));
        let mut file = std::fs::File::create(&path).expect("the directory can be written");
        real_profile().write_pprof(&mut file).expect("the file can be written");
        let top = |index: &str| {
            let output = Command::new("go")
                .args(["tool", "pprof", "-top", "-unit=B", &format!("-sample_index={index}")])
                .arg(&path)
                .output()
                .expect("go runs");
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{error}");
            String::from_utf8(output.stdout).expect("pprof writes text")
        };
        let (in_use, allocated) = (top("inuse_space"), top("alloc_space"));
        std::fs::remove_file(&path).expect("the file was written");
        let line = |text: &str, name: &str| {
            let mut lines = text.lines().filter(|line| line.contains(name));
            let words = lines.next().map(|line| line.split_whitespace().next().map(str::to_owned));
            words.flatten().unwrap_or_else(|| panic!("{name} is not in\n{text}"))
        };
        assert!(in_use.contains("Type: inuse_space"), "{in_use}");
        assert_eq!(line(&in_use, "tests::keeps_what_it_allocates"), "1024B");
        assert_eq!(line(&allocated, "tests::drops_what_it_allocates"), "3145728B");
    }
}
