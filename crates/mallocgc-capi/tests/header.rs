//! The header is what the sources say, and what compilers read is what Rust has.
//!
//! `MALLOCGC_UPDATE=1 cargo test -p mallocgc-capi --test header` writes it anew.

use std::path::{Path, PathBuf};

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header_path() -> PathBuf {
    crate_dir().join("include/mallocgc.h")
}

#[test]
fn the_header_is_up_to_date() {
    let config = cbindgen::Config::from_file(crate_dir().join("cbindgen.toml")).expect("settings");
    let sources =
        ["error", "trampoline", "handle", "config", "heap", "limits", "mutator", "layout", "alloc"]
            .into_iter()
            .chain(["root", "stack", "finalizer", "weak", "observe", "walk"]);
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in sources {
        builder = builder.with_src(crate_dir().join("src").join(source).with_extension("rs"));
    }
    let mut made = Vec::new();
    builder.generate().expect("a header").write(&mut made);
    let made = String::from_utf8(made).expect("text");
    // Inside the guard against a second inclusion, behind what is declared.
    let inline = std::fs::read_to_string(crate_dir().join("src/inline.h")).expect("the text");
    let end = "#endif  /* MALLOCGC_H */";
    assert!(made.ends_with(&format!("{end}\n")), "the header ends otherwise than expected");
    let made = made.replace(end, &format!("{}{end}", inline.trim_start()));
    if std::env::var_os("MALLOCGC_UPDATE").is_some() {
        std::fs::write(header_path(), &made).expect("written");
    }
    let kept = std::fs::read_to_string(header_path()).expect("the header");
    assert!(
        kept == made,
        "include/mallocgc.h is out of date: MALLOCGC_UPDATE=1 cargo test -p mallocgc-capi --test header"
    );
}
