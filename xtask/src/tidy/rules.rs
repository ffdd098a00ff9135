//! The rules, one function each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::lexer::Token;
use super::paths::{self, paths};
use super::{File, Violation, module_names};

/// The folders of `crates/mallocgc/src`; each uses only those before it.
const LAYERS: [&str; 9] =
    ["base", "layout", "os", "heap", "world", "collect", "observe", "raw", "typed"];

/// Modules that know each other and are read as one, by folder: the order of
/// declaration does not hold between them. No names means the whole folder. Each
/// says why; add none without.
const KNOTS: [(&str, &[&str]); 2] = [
    // Spans, their classes and their lists are records of the space, which finds
    // one by the other's number.
    ("heap", &["span_class", "span", "layouts", "central", "space", "newborn", "cache", "special"]),
    // Handles of one interface: a heap makes mutators, a mutator knows its heap.
    ("raw", &[]),
];

/// Layers whose records come from `heap::meta`.
const WITHOUT_ALLOCATOR: [&str; 2] = ["heap", "collect"];

/// Modules that forbid unsafe code, by their path in the library.
const SAFE_MODULES: [&[&str]; 3] = [&["layout"], &["observe"], &["collect", "pacer"]];

/// Names that mean the system allocator.
const ALLOCATING: [&str; 15] = [
    "Box",
    "Vec",
    "String",
    "Rc",
    "Arc",
    "VecDeque",
    "HashMap",
    "HashSet",
    "BTreeMap",
    "BTreeSet",
    "BinaryHeap",
    "CString",
    "to_vec",
    "to_string",
    "to_owned",
];

/// Macros that mean it.
const ALLOCATING_MACROS: [&str; 2] = ["vec", "format"];

const LIBRARY: &str = "crates/mallocgc/src";

/// Every file says what it is before anything else.
pub(super) fn header(file: &File, found: &mut Vec<Violation>) {
    if !file.text.starts_with("//!") {
        file.report(1, "header", "the file does not open with `//!`".to_string(), found);
    }
}

/// Nothing of the kind one types while thinking is left.
pub(super) fn left_over(file: &File, found: &mut Vec<Violation>) {
    for pair in file.source.tokens.windows(2) {
        let name = pair[0].text.as_str();
        if matches!(name, "todo" | "unimplemented" | "dbg") && pair[1].text == "!" {
            file.report(pair[0].line, "left-over", format!("`{name}!` is left over"), found);
        }
    }
}

/// The rules of the library's folders.
pub(super) fn library(files: &[File], found: &mut Vec<Violation>) {
    let modules: BTreeMap<Vec<String>, &File> = files
        .iter()
        .filter_map(|file| {
            let inside = file.path.strip_prefix(LIBRARY).ok()?;
            Some((module_path(inside), file))
        })
        .collect();
    let order = Order::read(&modules);
    order.check_root(&modules, found);

    for (module, file) in &modules {
        if file.is_test {
            continue;
        }
        let layer = module.first().map_or("", |layer| layer.as_str());
        layers(file, module, &order, found);
        if WITHOUT_ALLOCATOR.contains(&layer) {
            allocation(file, found);
        }
        if layer != "os" {
            libc(file, found);
        }
    }
    for path in SAFE_MODULES {
        let path: Vec<String> = path.iter().map(|name| name.to_string()).collect();
        if let Some(file) = modules.get(&path) {
            forbid_unsafe(file, found);
        }
    }
}

/// `heap/span.rs` and `heap/span/mod.rs` are `["heap", "span"]`, `lib.rs` is `[]`.
fn module_path(inside: &Path) -> Vec<String> {
    let mut names: Vec<String> = inside
        .with_extension("")
        .components()
        .map(|component| component.as_os_str().to_string_lossy().into_owned())
        .collect();
    if names.last().is_some_and(|name| name == "mod" || name == "lib") {
        names.pop();
    }
    names
}

/// Which modules each module declares, in order, and what names they lend it.
struct Order {
    children: BTreeMap<Vec<String>, Vec<String>>,
    /// Names that a module re-exports from a child: (module, name) to child.
    exports: BTreeMap<(Vec<String>, String), String>,
    all: BTreeSet<Vec<String>>,
}

impl Order {
    fn read(modules: &BTreeMap<Vec<String>, &File>) -> Order {
        let mut order = Order {
            children: BTreeMap::new(),
            exports: BTreeMap::new(),
            all: modules.keys().cloned().collect(),
        };
        for (module, file) in modules {
            let children = module_names(&file.code);
            for path in exported_paths(&file.code) {
                let names = match path.segments.first().map(|name| name.as_str()) {
                    Some("self") => &path.segments[1..],
                    _ => &path.segments[..],
                };
                if let [child, .., name] = names
                    && children.contains(child)
                {
                    order.exports.insert((module.clone(), name.clone()), child.clone());
                }
            }
            order.children.insert(module.clone(), children);
        }
        order
    }

    /// The library's root declares the layers in their order.
    fn check_root(&self, modules: &BTreeMap<Vec<String>, &File>, found: &mut Vec<Violation>) {
        let root = Vec::new();
        let (Some(file), Some(children)) = (modules.get(&root), self.children.get(&root)) else {
            return;
        };
        let mut last = 0;
        for child in children {
            match LAYERS.iter().position(|layer| layer == child) {
                None => file.report(1, "layers", format!("`{child}` is no layer"), found),
                Some(index) if index < last => {
                    let message = format!("`{child}` is declared after `{}`", LAYERS[last]);
                    file.report(1, "layers", message, found);
                }
                Some(index) => last = index,
            }
        }
    }

    /// Whether `module` may use what `path` (from the root of the crate) names.
    /// The answer is why not.
    fn objection(&self, module: &[String], path: &[String]) -> Option<String> {
        // Down to the module where the two ways part.
        let mut common = 0;
        while common < module.len() && path.get(common) == Some(&module[common]) {
            common += 1;
        }
        let parent = &module[..common];
        let mine = module.get(common)?;
        let name = path.get(common)?;
        let children = self.children.get(parent)?;
        let theirs = match children.contains(name) {
            true => name,
            false => self.exports.get(&(parent.to_vec(), name.clone()))?,
        };
        if mine == theirs {
            return None;
        }
        let index = |wanted: &String| children.iter().position(|child| child == wanted);
        let (Some(my_index), Some(their_index)) = (index(mine), index(theirs)) else {
            return None;
        };
        if their_index < my_index {
            return None;
        }
        let tied = |folder: &str, names: &[&str]| {
            let knows = |name: &str| names.is_empty() || names.contains(&name);
            parent == [folder] && knows(mine) && knows(theirs)
        };
        if KNOTS.iter().any(|(folder, names)| tied(folder, names)) {
            return None;
        }
        let what = if common == 0 { "layer" } else { "module" };
        Some(format!("{what} `{mine}` uses `{theirs}`, which is declared after it"))
    }
}

/// The paths in `pub use` (of any visibility).
fn exported_paths(tokens: &[Token]) -> Vec<paths::Path> {
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.text == "use"
            && index > 0
            && matches!(tokens[index - 1].text.as_str(), "pub" | ")")
        {
            let end = tokens[index..].iter().position(|token| token.text == ";");
            let end = end.map_or(tokens.len(), |end| index + end);
            found.extend(paths(&tokens[index + 1..end]));
        }
    }
    found
}

/// Uses go to layers above, and to modules declared earlier.
fn layers(file: &File, module: &[String], order: &Order, found: &mut Vec<Violation>) {
    for path in paths(&file.code) {
        let Some(from_root) = from_root(module, &path.segments, order) else { continue };
        if let Some(objection) = order.objection(module, &from_root) {
            file.report(path.line, "layers", objection, found);
        }
    }
}

/// A path in `module` as seen from the root of the crate; `None` for paths that
/// are not in this crate.
fn from_root(module: &[String], segments: &[String], order: &Order) -> Option<Vec<String>> {
    match segments[0].as_str() {
        "crate" => Some(segments[1..].to_vec()),
        "self" => Some([module, &segments[1..]].concat()),
        "super" => {
            let ups = segments.iter().take_while(|name| *name == "super").count();
            // Deeper than the file: a module within it.
            let base = &module[..module.len().checked_sub(ups)?];
            Some([base, &segments[ups..]].concat())
        }
        // A child of the module.
        child if order.all.contains(&[module, &[child.to_string()]].concat()) => {
            Some([module, segments].concat())
        }
        _ => None,
    }
}

/// Nothing that allocates behind the heap's back.
fn allocation(file: &File, found: &mut Vec<Violation>) {
    for (index, token) in file.code.iter().enumerate() {
        let name = token.text.as_str();
        let is_macro = file.code.get(index + 1).is_some_and(|next| next.text == "!");
        let allocates = ALLOCATING.contains(&name) || is_macro && ALLOCATING_MACROS.contains(&name);
        if allocates {
            let message = format!("`{name}` allocates; records come from `heap::meta`");
            file.report(token.line, "allocation", message, found);
        }
    }
}

/// The system is called in one place.
fn libc(file: &File, found: &mut Vec<Violation>) {
    for token in file.code.iter().filter(|token| token.text == "libc") {
        file.report(token.line, "libc", "only `os` uses `libc`".to_string(), found);
    }
}

/// The module's own file forbids unsafe code.
fn forbid_unsafe(file: &File, found: &mut Vec<Violation>) {
    let texts: Vec<&str> = file.source.tokens.iter().map(|token| token.text.as_str()).collect();
    let wanted = ["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"];
    if !texts.windows(wanted.len()).any(|window| window == wanted) {
        let message = "`#![forbid(unsafe_code)]` is missing".to_string();
        file.report(1, "forbid-unsafe", message, found);
    }
}
