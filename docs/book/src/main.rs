//! `book [FILE]`: runs a program, or talks.

#![forbid(unsafe_code)]

use book::{Error, Lisp, Settings};
use std::io::{BufRead, Write};
use std::process::ExitCode;

/// Evaluates a text and shows what it printed and what its value is.
fn show(lisp: &Lisp, text: &str) -> Result<String, Error> {
    let result = lisp.eval(text);
    print!("{}", lisp.take_output());
    result
}

fn talk(lisp: &Lisp) -> std::io::Result<()> {
    let mut text = String::new();
    loop {
        print!("{} ", if text.is_empty() { ">" } else { " " });
        std::io::stdout().flush()?;
        if std::io::stdin().lock().read_line(&mut text)? == 0 {
            return Ok(());
        }
        match show(lisp, &text) {
            // The form goes on in the next line.
            Err(Error::Raised(message)) if message == "the text ends too early" => continue,
            Ok(value) => println!("{value}"),
            Err(error) => println!("{error}"),
        }
        text.clear();
    }
}

fn main() -> ExitCode {
    let lisp = match Lisp::new(Settings::default()) {
        Ok(lisp) => lisp,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let result = match std::env::args().nth(1) {
        None => talk(&lisp).map_err(|error| error.to_string()),
        Some(path) => std::fs::read_to_string(&path)
            .map_err(|error| format!("{path}: {error}"))
            .and_then(|text| show(&lisp, &text).map(drop).map_err(|error| error.to_string())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
