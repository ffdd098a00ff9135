//! `scheme [--heap-limit BYTES] [--collect-every N] [--stats] [-e FORMS] [FILE]`; without a file it reads from the terminal.

#![forbid(unsafe_code)]

use rustyline::error::ReadlineError;
use scheme::{Failure, Interpreter, Options, with_stack};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str =
    "usage: scheme [--heap-limit BYTES[K|M|G]] [--collect-every N] [--stats] [-e FORMS] [FILE]";

/// What the command line asks for.
#[derive(Default)]
struct Arguments {
    options: Options,
    stats: bool,
    forms: Option<String>,
    file: Option<PathBuf>,
}

/// A number of bytes, as 64M.
fn bytes(text: &str) -> Option<usize> {
    let (digits, shift) = match text.chars().last()? {
        'k' | 'K' => (&text[..text.len() - 1], 10),
        'm' | 'M' => (&text[..text.len() - 1], 20),
        'g' | 'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}

fn arguments() -> Option<Arguments> {
    let mut all = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--stats" => all.stats = true,
            "--heap-limit" => all.options.heap.heap_limit_bytes = bytes(&words.next()?)?,
            "--collect-every" => all.options.heap.collect_every = words.next()?.parse().ok()?,
            "-e" => all.forms = Some(words.next()?),
            word if word.starts_with('-') => return None,
            _ => {
                all.file = Some(word.into());
                // The rest is the program's.
                break;
            }
        }
    }
    Some(all)
}

/// Reads forms from the terminal until it ends.
fn converse(scheme: &Interpreter) -> Result<(), Failure> {
    let failed = |error: ReadlineError| Failure::Raised(error.to_string());
    let mut editor = rustyline::DefaultEditor::new().map_err(failed)?;
    let mut text = String::new();
    loop {
        let prompt = if text.is_empty() { "> " } else { "  " };
        match editor.readline(prompt) {
            Ok(line) => {
                text.push_str(&line);
                text.push('\n');
            }
            Err(ReadlineError::Interrupted) => {
                text.clear();
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        if !scheme.is_complete(&text) {
            continue;
        }
        let form = std::mem::take(&mut text);
        // A history that cannot be kept is none.
        drop(editor.add_history_entry(form.trim_end()));
        match scheme.eval(&form, &mut |value| println!("{value}")) {
            Err(Failure::Raised(message)) => eprintln!("{message}"),
            Err(failure) => return Err(failure),
            Ok(()) => {}
        }
    }
}

/// What the heap has done.
fn told(scheme: &Interpreter) -> String {
    let heap = scheme.heap().raw();
    let (stats, pauses) = (heap.stats(), heap.pause_histogram());
    let millis = |nanos: u64| nanos as f64 / 1e6;
    format!(
        "heap: {} bytes in {} objects; {} bytes from the system, {} external\n\
         allocated: {} bytes in {} objects\n\
         collections: {}, {} of them asked for; {:.1} % of the processor time\n\
         pauses: {:.3} ms in all, median {:.3} ms, longest {:.3} ms\n",
        stats.heap_alloc,
        stats.heap_objects,
        stats.sys - stats.heap_released,
        stats.external_bytes,
        stats.total_alloc,
        stats.mallocs,
        stats.num_gc,
        stats.num_forced_gc,
        stats.gc_cpu_fraction * 100.0,
        millis(stats.pause_total_nanos),
        millis(pauses.quantile(0.5)),
        millis(pauses.max()),
    )
}

fn run(arguments: Arguments) -> u8 {
    let scheme = match Interpreter::new(arguments.options) {
        Ok(scheme) => scheme,
        Err(error) => {
            eprintln!("scheme: {error}");
            return 70;
        }
    };
    let result = match (&arguments.forms, &arguments.file) {
        (Some(forms), _) => scheme.eval(forms, &mut |value| println!("{value}")),
        (None, Some(file)) => scheme.run_file(file),
        (None, None) => converse(&scheme),
    };
    if arguments.stats {
        eprint!("{}", told(&scheme));
    }
    match result {
        Ok(()) => 0,
        Err(Failure::Exit(status)) => status as u8,
        Err(Failure::Raised(message)) => {
            eprintln!("{message}");
            70
        }
        Err(Failure::OutOfMemory) => {
            eprintln!("scheme: out of memory");
            71
        }
    }
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    ExitCode::from(with_stack(|| run(arguments)))
}
