//! What the chapters print is true: their Rust is in the sources, their Lisp has the values they say, their links lead
//! somewhere.

#![forbid(unsafe_code)]

use book::{Error, Lisp, Settings};
use mallocgc::raw::Config;
use std::path::{Path, PathBuf};

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The chapters and their contents page.
fn pages() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut pages: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    pages
}

/// Something between fences: what follows the first one, and the lines.
struct Block {
    place: String,
    info: String,
    lines: Vec<String>,
}

fn blocks(path: &Path) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (number, line) in read(path).lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(info) => {
                let place = format!("{}:{}", path.display(), number + 1);
                blocks.push(Block { place, info: info.to_string(), lines: Vec::new() });
                inside = true;
            }
            None if inside => blocks.last_mut().unwrap().lines.push(line.to_string()),
            None => {}
        }
    }
    assert!(!inside, "{}: a block does not end", path.display());
    blocks
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Where the lines are in a source, from a line on: the same but for an indentation of all.
fn find(source: &[&str], from: usize, wanted: &[&str]) -> Option<usize> {
    let first = wanted.first()?;
    (from..source.len()).find(|&at| {
        let Some(there) = source.get(at..at + wanted.len()) else { return false };
        let Some(deeper) = indent(there[0]).checked_sub(indent(first)) else { return false };
        there.iter().zip(wanted).all(|(there, wanted)| match wanted.trim().is_empty() {
            true => there.trim().is_empty(),
            false => {
                indent(there) == indent(wanted) + deeper
                    && there.trim_start() == wanted.trim_start()
            }
        })
    })
}

#[test]
fn the_rust_of_the_chapters_is_that_of_the_crate() {
    let mut quoted = 0;
    for page in pages() {
        for block in blocks(&page).iter().filter(|block| block.info == "rust") {
            let place = &block.place;
            let (file, lines) =
                block.lines.split_first().unwrap_or_else(|| panic!("{place}: empty"));
            let file =
                file.strip_prefix("// ").unwrap_or_else(|| panic!("{place}: of which file?"));
            let source = read(&folder().join(file));
            let source: Vec<&str> = source.lines().collect();
            let mut from = 0;
            // Where a line is `// …` something of the source is left out.
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            for piece in lines.split(|line| line.trim() == "// …") {
                let blank = |line: &&&str| line.trim().is_empty();
                let start = piece.iter().take_while(blank).count();
                let end = piece.len() - piece[start..].iter().rev().take_while(blank).count();
                let piece = &piece[start..end];
                if piece.is_empty() {
                    continue;
                }
                let at = find(&source, from, piece)
                    .unwrap_or_else(|| panic!("{place}: not in {file}:\n{}", piece.join("\n")));
                from = at + piece.len();
            }
            quoted += lines.len();
        }
    }
    println!("{quoted} lines are quoted");
    assert!(quoted > 100, "only {quoted} lines are quoted");
}

/// The settings of a block: `lisp`, or `lisp 4 MiB` for a limit.
fn settings(info: &str) -> Settings {
    let mut settings = Settings::default();
    if let Some(mebibytes) = info.strip_prefix("lisp ").and_then(|rest| rest.strip_suffix(" MiB")) {
        settings.heap.heap_limit_bytes = mebibytes.parse::<usize>().unwrap() << 20;
    } else if std::env::var_os("MALLOCGC_ZEAL").is_some() {
        settings.steps = 100;
        settings.heap = Config { collect_every: 100, verify: true, ..settings.heap };
    }
    settings
}

#[test]
fn the_lisp_of_the_chapters_has_the_values_they_say() {
    let mut checked = 0;
    for page in pages() {
        let lisp = Lisp::new(settings("")).unwrap();
        for block in blocks(&page).iter().filter(|block| block.info.starts_with("lisp")) {
            let other;
            let lisp = match block.info.as_str() {
                "lisp" => &lisp,
                info => {
                    other = Lisp::new(settings(info)).unwrap();
                    &other
                }
            };
            let mut program = String::new();
            for line in &block.lines {
                program.push_str(line);
                program.push('\n');
                let Some((_, says)) = line.split_once("; ") else { continue };
                let got = lisp.eval(&std::mem::take(&mut program));
                let says = says.trim();
                let place = &block.place;
                checked += 1;
                if let Some(error) = says.strip_prefix("error: ") {
                    assert_eq!(got, Err(Error::Raised(error.to_string())), "{place}: {line}");
                } else if let Some(output) = says.strip_prefix("prints ") {
                    assert!(got.is_ok(), "{place}: {line}: {got:?}");
                    assert_eq!(lisp.take_output().trim_end(), output, "{place}: {line}");
                } else if let Some(value) = says.strip_prefix("=> ") {
                    assert_eq!(got.as_deref(), Ok(value), "{place}: {line}");
                } else {
                    checked -= 1;
                    assert!(got.is_ok(), "{place}: {line}: {got:?}");
                }
            }
            assert!(lisp.eval(&program).is_ok(), "{}", block.place);
        }
    }
    assert!(checked > 40, "only {checked} values are said");
}

#[test]
fn links_lead_to_files() {
    for page in pages() {
        let text = read(&page);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap();
            let path = target.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(folder().join(path).exists(), "{}: {target}", page.display());
        }
    }
}

#[test]
fn every_chapter_is_in_the_contents_and_says_what_comes_next() {
    let pages = pages();
    let contents = read(&folder().join("README.md"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_string();
    let chapters: Vec<_> =
        pages.iter().map(|path| name(path)).filter(|name| name != "README.md").collect();
    for (index, chapter) in chapters.iter().enumerate() {
        assert!(contents.contains(&format!("({chapter})")), "{chapter} is not in the contents");
        let text = read(&folder().join(chapter));
        let title = text.lines().next().unwrap();
        assert!(title.starts_with(&format!("# {}. ", index + 1)), "{chapter}: {title}");
        if let Some(next) = chapters.get(index + 1) {
            assert!(text.contains(&format!("({next})")), "{chapter} does not lead to {next}");
        }
        let lines = text.lines().count();
        assert!(lines <= 400, "{chapter} has {lines} lines");
    }
}
