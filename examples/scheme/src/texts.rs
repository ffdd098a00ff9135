//! Characters and strings: R7RS 6.6 and 6.7.

use crate::machine::Vm;
use crate::primitive::{ANY, Arguments, Primitive};
use crate::value::{Outcome, Text, Value, list, text, text_of, to_string, vector, wrong};
use mallocgc::typed::{Gc, Lock};
use std::cmp::Ordering;

/// The part of something that two optional arguments, from the one at `at`, name.
pub(crate) fn range<'gc>(
    args: Arguments<'gc>,
    at: usize,
    length: usize,
) -> Outcome<'gc, (usize, usize)> {
    let end = match args.get(at + 1).map(|arg| arg.get()) {
        None => length,
        Some(end) => match end.index()? {
            n if n <= length => n,
            _ => return Err(wrong("an end not behind the last element", end)),
        },
    };
    let start = match args.get(at).map(|arg| arg.get()) {
        None => 0,
        Some(start) => match start.index()? {
            n if n <= end => n,
            _ => return Err(wrong("a start not behind the end", start)),
        },
    };
    Ok((start, end))
}

fn chars<'gc>(value: Value<'gc>) -> Outcome<'gc, &'gc [Lock<char>]> {
    Ok(value.text()?.as_ref().chars.get().as_ref())
}

/// A copy of part of a string.
fn part<'gc>(args: Arguments<'gc>, at: usize) -> Outcome<'gc, Vec<char>> {
    let chars = chars(args[0].get())?;
    let (start, end) = range(args, at, chars.len())?;
    Ok(chars[start..end].iter().map(|c| c.get()).collect())
}

fn place<'gc>(args: Arguments<'gc>) -> Outcome<'gc, &'gc Lock<char>> {
    let chars = chars(args[0].get())?;
    match chars.get(args[1].get().index()?) {
        Some(place) => Ok(place),
        None => Err(wrong("an index of the string", args[1].get())),
    }
}

fn compare_chars<'gc>(
    args: Arguments<'gc>,
    fold: fn(char) -> char,
    holds: fn(Ordering) -> bool,
) -> Outcome<'gc> {
    let all: Outcome<'gc, Vec<char>> = args.iter().map(|arg| Ok(fold(arg.get().char()?))).collect();
    Ok(Value::from(all?.windows(2).all(|pair| holds(pair[0].cmp(&pair[1])))))
}

fn compare_texts<'gc>(
    args: Arguments<'gc>,
    fold: fn(String) -> String,
    holds: fn(Ordering) -> bool,
) -> Outcome<'gc> {
    let all: Outcome<'gc, Vec<String>> =
        args.iter().map(|arg| Ok(fold(to_string(arg.get().text()?)))).collect();
    Ok(Value::from(all?.windows(2).all(|pair| holds(pair[0].cmp(&pair[1])))))
}

fn fold_char(c: char) -> char {
    lower(upper(c))
}

fn upper(c: char) -> char {
    let mut all = c.to_uppercase();
    if all.len() == 1 { all.next().unwrap_or(c) } else { c }
}

fn lower(c: char) -> char {
    let mut all = c.to_lowercase();
    if all.len() == 1 { all.next().unwrap_or(c) } else { c }
}

/// Full case folding: what has a capital of several letters, as ß, is these.
fn fold_text(text: String) -> String {
    let fold = |c: char| match c {
        // Its capital is that of i.
        'ı' => "ı".to_string(),
        c => c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect(),
    };
    text.chars().map(fold).collect()
}

/// The value of a digit of any script: those of Unicode come in runs of ten.
fn digit_value(c: char) -> Option<i64> {
    const ZEROS: [u32; 22] = [
        0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66,
        0xe50, 0xed0, 0xf20, 0x1040, 0x17e0, 0x1810, 0x1946, 0x19d0, 0xff10,
    ];
    let code = c as u32;
    ZEROS.iter().find(|&&zero| (zero..zero + 10).contains(&code)).map(|zero| i64::from(code - zero))
}

fn char_test<'gc>(args: Arguments<'gc>, holds: fn(char) -> bool) -> Outcome<'gc> {
    Ok(Value::from(holds(args[0].get().char()?)))
}

fn append<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let mut all = Vec::new();
    for arg in args {
        all.extend(chars(arg.get())?.iter().map(|c| c.get()));
    }
    text_of(vm.cx, all)
}

fn copy_to<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let (to, from) = (chars(args[0].get())?, chars(args[2].get())?);
    let (start, end) = range(args, 3, from.len())?;
    let at = args[1].get().index()?;
    if at > to.len() || to.len() - at < end - start {
        return Err(wrong("a place with room for the string", args[1].get()));
    }
    let copied: Vec<char> = from[start..end].iter().map(|c| c.get()).collect();
    for (place, c) in to[at..].iter().zip(copied) {
        place.set(vm.cx, c);
    }
    Ok(Value::Unspecified)
}

fn mapped<'gc>(
    vm: &mut Vm<'gc, '_>,
    args: Arguments<'gc>,
    change: fn(&str) -> String,
) -> Outcome<'gc> {
    text(vm.cx, &change(&to_string(args[0].get().text()?)))
}

fn search<'gc>(_: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let (wanted, text): (Vec<char>, Vec<char>) = (
        chars(args[0].get())?.iter().map(|c| c.get()).collect(),
        chars(args[1].get())?.iter().map(|c| c.get()).collect(),
    );
    let found = match wanted.is_empty() {
        true => Some(0),
        false => text.windows(wanted.len()).position(|window| window == wanted),
    };
    Ok(found.map_or(Value::False, |at| Value::Fixnum(at as i64)))
}

fn string_fill<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let (text, fill) = (chars(args[0].get())?, args[1].get().char()?);
    let (start, end) = range(args, 2, text.len())?;
    text[start..end].iter().for_each(|place| place.set(vm.cx, fill));
    Ok(Value::Unspecified)
}

fn list_to_string<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let all: Outcome<'gc, Vec<char>> = args[0].get().list()?.into_iter().map(Value::char).collect();
    text_of(vm.cx, all?)
}

macro_rules! comparisons {
    ($function:ident, $fold:expr, $($name:literal $holds:expr),*) => {
        &[$(Primitive::plain($name, 1, ANY, |_, args| $function(args, $fold, $holds))),*]
    };
}

/// Comparisons, each kind in a table.
pub(crate) const COMPARISONS: [&[Primitive]; 4] = [
    comparisons!(
        compare_chars,
        |c| c,
        "char=?" | o | o.is_eq(),
        "char<?" | o | o.is_lt(),
        "char>?" | o | o.is_gt(),
        "char<=?" | o | o.is_le(),
        "char>=?" | o | o.is_ge()
    ),
    comparisons!(
        compare_chars,
        fold_char,
        "char-ci=?" | o | o.is_eq(),
        "char-ci<?" | o | o.is_lt(),
        "char-ci>?" | o | o.is_gt(),
        "char-ci<=?" | o | o.is_le(),
        "char-ci>=?" | o | o.is_ge()
    ),
    comparisons!(
        compare_texts,
        |s| s,
        "string=?" | o | o.is_eq(),
        "string<?" | o | o.is_lt(),
        "string>?" | o | o.is_gt(),
        "string<=?" | o | o.is_le(),
        "string>=?" | o | o.is_ge()
    ),
    comparisons!(
        compare_texts,
        fold_text,
        "string-ci=?" | o | o.is_eq(),
        "string-ci<?" | o | o.is_lt(),
        "string-ci>?" | o | o.is_gt(),
        "string-ci<=?" | o | o.is_le(),
        "string-ci>=?" | o | o.is_ge()
    ),
];

/// The other procedures.
pub(crate) const PRIMITIVES: &[Primitive] = &[
    Primitive::plain("char?", 1, 1, |_, args| {
        Ok(Value::from(matches!(args[0].get(), Value::Char(_))))
    }),
    Primitive::plain("char-alphabetic?", 1, 1, |_, args| char_test(args, char::is_alphabetic)),
    Primitive::plain("char-numeric?", 1, 1, |_, args| {
        char_test(args, |c| digit_value(c).is_some())
    }),
    Primitive::plain("char-whitespace?", 1, 1, |_, args| char_test(args, char::is_whitespace)),
    Primitive::plain("char-upper-case?", 1, 1, |_, args| char_test(args, char::is_uppercase)),
    Primitive::plain("char-lower-case?", 1, 1, |_, args| char_test(args, char::is_lowercase)),
    Primitive::plain("digit-value", 1, 1, |_, args| {
        Ok(digit_value(args[0].get().char()?).map_or(Value::False, Value::Fixnum))
    }),
    Primitive::plain("char->integer", 1, 1, |_, args| {
        Ok(Value::Fixnum(i64::from(args[0].get().char()? as u32)))
    }),
    Primitive::plain("integer->char", 1, 1, |_, args| {
        let code = u32::try_from(args[0].get().index()?).ok().and_then(char::from_u32);
        code.map(Value::from).ok_or_else(|| wrong("the code of a character", args[0].get()))
    }),
    Primitive::plain("char-upcase", 1, 1, |_, args| Ok(Value::from(upper(args[0].get().char()?)))),
    Primitive::plain("char-downcase", 1, 1, |_, args| {
        Ok(Value::from(lower(args[0].get().char()?)))
    }),
    Primitive::plain("char-foldcase", 1, 1, |_, args| {
        Ok(Value::from(fold_char(args[0].get().char()?)))
    }),
    Primitive::plain("string?", 1, 1, |_, args| {
        Ok(Value::from(matches!(args[0].get(), Value::Text(_))))
    }),
    Primitive::plain("make-string", 1, 2, |vm, args| {
        let fill = args.get(1).map_or(Ok(' '), |arg| arg.get().char())?;
        let count = args[0].get().index()?;
        let chars = Gc::try_from_iter(vm.cx, (0..count).map(|_| Lock::new(fill)))?;
        Ok(Value::Text(Gc::try_new(vm.cx, Text { chars: Lock::new(chars) })?))
    }),
    Primitive::plain("string", 0, ANY, |vm, args| {
        let mut all = Vec::new();
        for arg in args {
            match arg.get() {
                Value::Char(c) => all.push(c.get()),
                other => all.extend(crate::print::displayed(other).chars()),
            }
        }
        text_of(vm.cx, all)
    }),
    Primitive::plain("string-length", 1, 1, |_, args| {
        Ok(Value::Fixnum(chars(args[0].get())?.len() as i64))
    }),
    Primitive::plain("string-ref", 2, 2, |_, args| Ok(Value::from(place(args)?.get()))),
    Primitive::plain("string-set!", 3, 3, |vm, args| {
        place(args)?.set(vm.cx, args[2].get().char()?);
        Ok(Value::Unspecified)
    }),
    Primitive::plain("string-upcase", 1, 1, |vm, args| mapped(vm, args, str::to_uppercase)),
    Primitive::plain("string-downcase", 1, 1, |vm, args| mapped(vm, args, str::to_lowercase)),
    Primitive::plain("string-foldcase", 1, 1, |vm, args| {
        mapped(vm, args, |text| fold_text(text.to_string()))
    }),
    Primitive::plain("substring", 3, 3, |vm, args| text_of(vm.cx, part(args, 1)?)),
    Primitive::plain("string-append", 0, ANY, append),
    Primitive::plain("string-copy", 1, 3, |vm, args| text_of(vm.cx, part(args, 1)?)),
    Primitive::plain("string-copy!", 3, 5, copy_to),
    Primitive::plain("string-fill!", 2, 4, string_fill),
    Primitive::plain("string->list", 1, 3, |vm, args| {
        let all: Vec<_> = part(args, 1)?.into_iter().map(Value::from).collect();
        list(vm.cx, &all)
    }),
    Primitive::plain("list->string", 1, 1, list_to_string),
    Primitive::plain("string->vector", 1, 3, |vm, args| {
        vector(vm.cx, part(args, 1)?.into_iter().map(Value::from))
    }),
    Primitive::plain("vector->string", 1, 3, |vm, args| {
        let items = args[0].get().vector()?;
        let (start, end) = range(args, 1, items.len())?;
        let all: Outcome<'_, Vec<char>> =
            items[start..end].iter().map(|item| item.get().char()).collect();
        text_of(vm.cx, all?)
    }),
    Primitive::plain("string->utf8", 1, 3, |vm, args| {
        let part: String = part(args, 1)?.into_iter().collect();
        crate::value::bytes(vm.cx, part.into_bytes())
    }),
    Primitive::plain("utf8->string", 1, 3, |vm, args| {
        let bytes = args[0].get().bytes()?;
        let (start, end) = range(args, 1, bytes.len())?;
        let bytes: Vec<u8> = bytes[start..end].iter().map(|b| b.get()).collect();
        match String::from_utf8(bytes) {
            Ok(string) => text(vm.cx, &string),
            Err(_) => Err(wrong("text in UTF-8", args[0].get())),
        }
    }),
    Primitive::plain("string-search-forward", 2, 2, search),
];
