//! The licences of everything that is compiled into the program.
//!
//! A pass of our own over `cargo metadata`, since it takes a second: cargo-about, the usual tool,
//! takes some minutes to build and one to run, and finds the same files. Which licences may be
//! depended upon at all is for `deny.toml` to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{arch::Architecture, exec, files};

/// The program, and the kernel side that it contains.
const ROOTS: [&str; 2] = ["kreset", "kreset-ebpf"];

/// Libraries that are linked in beside crates.
const LIBRARIES: &str = "\
The standard library of Rust is compiled in: copyright its contributors, \
Apache-2.0 or MIT.

Where the program is linked statically, so is musl:
Copyright (c) 2005-2020 Rich Felker, et al., MIT.
";

/// One crate.
#[derive(Debug, PartialEq, Eq)]
struct Crate {
    name: String,
    version: String,
    /// An SPDX expression.
    licence: String,
    /// The directory of its source.
    directory: String,
}

/// The text for users: each crate with its licence, then each text with the crates under it.
pub(super) fn third_party() -> Result<String> {
    let said = exec::output(
        exec::cargo()
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(["--features", "kreset-ebpf/programs"])
            // One text for all packages.
            .args(Architecture::ALL.iter().flat_map(|it| ["--filter-platform", it.static_target()]))
            .current_dir(exec::root()?),
    )?;
    let metadata = serde_json::from_str(&said).context("cargo's metadata is not JSON")?;
    let crates = compiled_in(&metadata)?;
    let apache = super::read("LICENSE-APACHE")?;
    let mut texts: BTreeMap<String, Vec<&Crate>> = BTreeMap::new();
    let mut list = String::new();
    for it in &crates {
        let _infallible = writeln!(list, "{} {}: {}", it.name, it.version, it.licence);
        for text in texts_of(it, &apache)? {
            texts.entry(text).or_default().push(it);
        }
    }
    let mut all = format!(
        "kreset-trace is made of the following, besides its own source.\n\n{list}\n{LIBRARIES}"
    );
    for (text, users) in texts {
        let names: Vec<_> = users
            .iter()
            .map(|it| format!("{} {}", it.name, it.version))
            .collect();
        let _infallible = write!(
            all,
            "\n{}\n{}\n\n{}\n",
            "=".repeat(78),
            names.join(", "),
            text.trim_end()
        );
    }
    Ok(all)
}

/// Its licences: the files that it has, or Apache's if it has none.
fn texts_of(it: &Crate, apache: &str) -> Result<Vec<String>> {
    let directory = Path::new(&it.directory);
    let mut files: Vec<_> = files::list(directory)?
        .into_iter()
        .filter(|path| path.is_file() && is_licence(path))
        .collect();
    files.sort_unstable();
    if !files.is_empty() {
        return files
            .iter()
            .map(|file| {
                let bytes = files::read(file)?;
                Ok(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
            })
            .collect();
    }
    if it.licence.contains("Apache-2.0") {
        return Ok(vec![apache.to_owned()]);
    }
    bail!(
        "{} {} is under {} and its package lacks the text: add it from its repository",
        it.name,
        it.version,
        it.licence
    )
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_uppercase();
    [
        "LICENSE",
        "LICENCE",
        "COPYING",
        "COPYRIGHT",
        "NOTICE",
        "UNLICENSE",
    ]
    .iter()
    .any(|begin| name.starts_with(begin))
}

/// The crates of others that the roots are made of, in order: no build scripts' and no tests'
/// dependencies.
fn compiled_in(metadata: &Value) -> Result<Vec<Crate>> {
    let packages = by_id(&metadata["packages"]);
    let nodes = by_id(&metadata["resolve"]["nodes"]);
    let mut todo: Vec<&str> = packages
        .iter()
        .filter(|(_, package)| ROOTS.iter().any(|root| package["name"] == *root))
        .map(|(id, _)| *id)
        .collect();
    if todo.len() != ROOTS.len() {
        bail!("cargo's metadata lacks one of {}", ROOTS.join(", "));
    }
    let mut seen = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if !seen.insert(id) {
            continue;
        }
        let dependencies = nodes
            .get(id)
            .and_then(|node| node["deps"].as_array())
            .with_context(|| format!("cargo's metadata lacks the dependencies of {id}"))?;
        let linked = dependencies.iter().filter(|it| {
            let kinds = it["dep_kinds"].as_array();
            kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        });
        todo.extend(linked.filter_map(|it| it["pkg"].as_str()));
    }
    let mut crates = Vec::new();
    for id in seen {
        let package = packages[id];
        // A crate of this workspace has no source.
        if package["source"].is_null() {
            continue;
        }
        let text = |key: &str| {
            package[key]
                .as_str()
                .map(ToOwned::to_owned)
                .with_context(|| format!("cargo's metadata lacks the {key} of {id}"))
        };
        let manifest = text("manifest_path")?;
        let directory = Path::new(&manifest)
            .parent()
            .with_context(|| format!("{manifest} is in no directory"))?;
        crates.push(Crate {
            name: text("name")?,
            version: text("version")?,
            licence: text("license")?,
            directory: directory.display().to_string(),
        });
    }
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(crates)
}

fn by_id(list: &Value) -> BTreeMap<&str, &Value> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(|it| Some((it["id"].as_str()?, it)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(id: &str, source: Option<&str>) -> Value {
        json!({
            "id": id, "name": id, "version": "1.0.0", "license": "MIT", "source": source,
            "manifest_path": format!("/crates/{id}/Cargo.toml"),
        })
    }

    fn node(id: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<_> = dependencies
            .iter()
            .map(|(id, kind)| json!({ "pkg": id, "dep_kinds": [{ "kind": kind }] }))
            .collect();
        json!({ "id": id, "deps": dependencies })
    }

    #[test]
    fn what_is_linked_counts_and_what_only_builds_or_tests_does_not() {
        let registry = Some("registry");
        let metadata = json!({
            "packages": [
                package("kreset", None), package("kreset-ebpf", None), package("own", None),
                package("linked", registry), package("deeper", registry),
                package("builds", registry), package("tests", registry),
            ],
            "resolve": { "nodes": [
                node("kreset", &[("own", None), ("builds", Some("build")), ("tests", Some("dev"))]),
                node("kreset-ebpf", &[]),
                node("own", &[("linked", None)]),
                node("linked", &[("deeper", None)]),
                node("deeper", &[]), node("builds", &[]), node("tests", &[]),
            ] },
        });
        let crates = compiled_in(&metadata).unwrap();
        let names: Vec<_> = crates.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["deeper", "linked"]);
        assert_eq!(crates[0].directory, "/crates/deeper");
    }

    #[test]
    fn a_text_that_is_nowhere_is_an_error() {
        let directory = env!("CARGO_MANIFEST_DIR");
        let of = |licence: &str| Crate {
            name: "it".to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.to_owned(),
            directory: directory.to_owned(),
        };
        assert_eq!(
            texts_of(&of("MIT OR Apache-2.0"), "apache").unwrap(),
            ["apache"]
        );
        let error = texts_of(&of("MIT"), "apache").unwrap_err();
        assert!(error.to_string().contains("it 1.0.0"), "{error}");
    }

    #[test]
    fn licences_are_known_by_their_file_names() {
        for name in [
            "LICENSE-MIT",
            "COPYING",
            "LICENCE.md",
            "license",
            "UNLICENSE",
        ] {
            assert!(is_licence(Path::new(name)), "{name}");
        }
        assert!(!is_licence(Path::new("Cargo.toml")));
    }
}
