//! That the modules of a crate do not import each other in a circle.
//!
//! A pass of our own over the text, since it takes milliseconds: `cargo modules dependencies
//! --acyclic`, the usual tool, contains rust-analyzer, which takes minutes to build. Modules are
//! those at the crate's root; tests do not count.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::{exec, files};

/// The library of each of these is checked.
const CRATES: [&str; 2] = ["kreset", "kreset-lab"];

/// What the root of a crate is called, where it is imported from itself.
const ROOT: &str = "lib";

/// From, to, and a file that has the import.
type Arrows = BTreeMap<String, BTreeMap<String, PathBuf>>;

/// Fails if there is a circle.
pub(crate) fn check() -> Result<()> {
    for name in CRATES {
        let source = exec::root()?.join(name).join("src");
        let arrows = arrows(&read(&source, &source)?);
        if let Some(circle) = circle(&arrows) {
            let steps = circle.windows(2).filter_map(|step| {
                let file = arrows.get(&step[0])?.get(&step[1])?;
                Some(format!("  {} -> {}: {}", step[0], step[1], file.display()))
            });
            bail!(
                "modules of {name} import each other in a circle:\n{}",
                steps.collect::<Vec<_>>().join("\n")
            );
        }
    }
    Ok(())
}

/// The text of each file of the library, without its tests, by its path below the source directory.
fn read(source: &Path, directory: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    for path in files::list(directory)? {
        let below = path.strip_prefix(source)?.to_owned();
        if below == Path::new("bin") || below == Path::new("main.rs") {
            // Another crate.
        } else if path.is_dir() {
            files.extend(read(source, &path)?);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = files::read_text(&path)?;
            files.insert(below, text);
        }
    }
    if directory == source {
        remove_tests(&mut files);
    }
    Ok(files)
}

/// Removes comments, items behind `cfg(test)`, and the files of such modules.
fn remove_tests(files: &mut BTreeMap<PathBuf, String>) {
    let mut modules = Vec::new();
    for (path, text) in &mut *files {
        *text = text
            .lines()
            .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
            .collect::<Vec<_>>()
            .join("\n");
        while let Some(begin) = text
            .find("#[cfg(test)]")
            .or_else(|| text.find("#[cfg(all(test"))
        {
            let end = begin + length_of_item(&text[begin..]);
            let item = text[begin..end].trim_end_matches(';');
            if let Some((_, module)) = item.rsplit_once("mod ") {
                modules.push(directory_of(path).join(module));
            }
            text.replace_range(begin..end, "");
        }
    }
    files.retain(|path, _| {
        !modules
            .iter()
            .any(|it| path.starts_with(it) || path.with_extension("") == *it)
    });
}

/// Where the modules that a file declares are.
fn directory_of(file: &Path) -> PathBuf {
    let name = file.file_stem().unwrap_or_default();
    if name == "mod" || file == Path::new("lib.rs") {
        file.with_file_name("")
    } else {
        file.with_extension("")
    }
}

/// How far an item goes: to its semicolon, or over all of its braces.
fn length_of_item(text: &str) -> usize {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => continue,
        }
        if letter == '}' && depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// Which module imports from which.
fn arrows(files: &BTreeMap<PathBuf, String>) -> Arrows {
    let modules: BTreeSet<String> = files.keys().map(|path| module_of(path)).collect();
    // What the root exports again is the module's that has it.
    let mut exports = BTreeMap::new();
    let mut root = files.get(Path::new("lib.rs")).cloned().unwrap_or_default();
    while let Some(begin) = root.find("pub use ") {
        let end = begin + length_of_item(&root[begin..]);
        let path = root[begin..end].trim_start_matches("pub use ");
        let path = path
            .trim_start_matches("crate::")
            .trim_start_matches("self::");
        let mut found = Vec::new();
        tree(&mut &*path, &mut Vec::new(), &mut found);
        exports.extend(found.into_iter().map(|(module, name)| (name, module)));
        root.replace_range(begin..end, "");
    }
    let mut arrows = Arrows::new();
    for (path, text) in files {
        let from = module_of(path);
        let depth = directory_of(path).iter().count();
        let text = if from == ROOT { &root } else { text };
        for (module, _) in imports(text, depth) {
            let to = exports.get(&module).unwrap_or(&module);
            let to = if modules.contains(to) { to } else { ROOT };
            if to != from {
                let arrows = arrows.entry(from.clone()).or_default();
                arrows.entry(to.to_owned()).or_insert_with(|| path.clone());
            }
        }
    }
    arrows
}

/// The module at the root that a file is a part of.
fn module_of(path: &Path) -> String {
    let first = path.iter().next().map_or(path, Path::new);
    first.with_extension("").display().to_string()
}

/// All that is imported from the crate's root, in `use` or by its path: module, and last name.
///
/// In a file `depth` modules below the root, as many `super` are the root too.
fn imports(text: &str, depth: usize) -> Vec<(String, String)> {
    let text = text.replace(
        &format!("{}::", vec!["super"; depth.max(1)].join("::")),
        "crate::",
    );
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        if !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            let mut rest = &text[at + "crate::".len()..];
            tree(&mut rest, &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Reads one path of a `use`, or a group of them.
fn tree(rest: &mut &str, path: &mut Vec<String>, found: &mut Vec<(String, String)>) {
    *rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        *rest = group;
        loop {
            *rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(after) = rest.strip_prefix('}') {
                *rest = after;
                return;
            }
            let before = rest.len();
            tree(rest, &mut path.clone(), found);
            if rest.len() == before {
                return;
            }
        }
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*');
    let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
    path.push(name.to_owned());
    *rest = after;
    if let Some(after) = rest.strip_prefix("::") {
        *rest = after;
        return tree(rest, path, found);
    }
    found.push((path[0].clone(), name.to_owned()));
    if let Some(renamed) = rest.strip_prefix(" as ") {
        *rest = renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
    }
}

/// The shortest way from a module back to itself, if there is one.
fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    let circle_of = |start: &String| {
        let mut ways = VecDeque::from([vec![start.clone()]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            for next in arrows.get(way.last()?)?.keys() {
                let longer: Vec<String> = way.iter().chain([next]).cloned().collect();
                if next == start {
                    return Some(longer);
                }
                if arrows.contains_key(next) && seen.insert(next) {
                    ways.push_back(longer);
                }
            }
        }
        None
    };
    arrows.keys().filter_map(circle_of).min_by_key(Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circle in a crate of these files.
    fn circle_in(files: &[(&str, &str)]) -> Option<Vec<String>> {
        let mut files = files
            .iter()
            .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()))
            .collect();
        remove_tests(&mut files);
        circle(&arrows(&files))
    }

    #[test]
    fn a_circle_of_imports_is_found() {
        let circle = circle_in(&[
            ("lib.rs", "pub mod a;\npub mod b;\nmod c;\n"),
            ("a.rs", "use crate::{\n    b::{self, Thing},\n};\n"),
            ("b/mod.rs", "mod inner;"),
            ("b/inner.rs", "fn f() { crate::c::g() }"),
            ("c.rs", "use crate::a::Thing as Other;"),
        ]);
        assert_eq!(circle.unwrap(), ["a", "b", "c", "a"]);
    }

    #[test]
    fn imports_that_go_one_way_are_no_circle() {
        let circle = circle_in(&[
            (
                "lib.rs",
                "pub mod a;\nmod b;\n/// `crate::a`\npub use crate::b::Thing;\n",
            ),
            ("a.rs", "use crate::{Thing, b};"),
            (
                "b.rs",
                "mod more;\n// crate::a\n#[cfg(test)]\nuse crate::a;\n#[cfg(test)]\nmod tests { use crate::a::X; }",
            ),
            ("b/more.rs", "use super::x;\n#[cfg(test)]\nmod cases;\n"),
            ("b/more/cases.rs", "use crate::a;"),
        ]);
        assert_eq!(circle, None);
    }

    #[test]
    fn the_root_counts_where_it_is_imported_from() {
        let files = [
            (
                "lib.rs",
                "mod a;\nuse crate::a::Thing;\npub struct Root(Thing);",
            ),
            ("a.rs", "use super::Root;"),
        ];
        assert_eq!(circle_in(&files).unwrap(), ["a", "lib", "a"]);
    }
}
