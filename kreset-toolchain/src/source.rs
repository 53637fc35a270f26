//! The hash of all that the kernel side's object depends on, apart from the tools.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use crate::compile::FLAGS;

/// The crates that the object is made of.
pub const CRATES: [&str; 2] = ["kreset-common", "kreset-ebpf"];

/// Prints cfg flags in build scripts, and nothing of it or its dependencies is in the object.
const BUILD_SCRIPTS_ONLY: &str = "aya-build";

/// Hashes the sources of the kernel side: its crates, the versions that it is locked to, and what
/// the workspace's manifest says about both.
///
/// The compiler and the linker do not count, so the hash is the same on every machine.
///
/// # Errors
///
/// When a source cannot be read.
pub fn hash(workspace: &Path) -> io::Result<String> {
    let mut hash = Fnv::new();
    let mut dependencies = BTreeSet::new();
    for name in CRATES {
        let directory = workspace.join(name);
        let manifest = read(&directory.join("Cargo.toml"))?;
        dependencies.extend(direct_dependencies(&manifest));
        hash.entry(name, &manifest);
        hash_directory(&mut hash, &directory.join("src"), &format!("{name}/src"))?;
    }
    let manifest = read(&workspace.join("Cargo.toml"))?;
    for line in relevant_settings(&manifest, &dependencies) {
        hash.entry("Cargo.toml", line);
    }
    let lock = read(&workspace.join("Cargo.lock"))?;
    for (package, checksum) in locked(&lock, dependencies) {
        hash.entry(package, checksum);
    }
    for flag in FLAGS {
        hash.entry("flag", flag);
    }
    Ok(hash.finish())
}

/// Hashes the bytes of an object.
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> String {
    let mut hash = Fnv::new();
    hash.update(bytes);
    hash.finish()
}

/// The files below `directory` in the order of their names.
fn hash_directory(hash: &mut Fnv, directory: &Path, name: &str) -> io::Result<()> {
    let mut entries = fs::read_dir(directory)
        .map_err(|error| about(directory, &error))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name}/{file}");
        if path.is_dir() {
            hash_directory(hash, &path, &name)?;
        } else {
            hash.entry(&name, &read(&path)?);
        }
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| about(path, &error))
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The names in the tables of dependencies of a manifest, without those of tests and build scripts.
fn direct_dependencies(manifest: &str) -> impl Iterator<Item = String> + '_ {
    settings(manifest)
        .filter(|(section, _)| *section == "dependencies")
        .map(|(_, line)| key(line).to_owned())
}

/// The lines of the workspace's manifest that change what the compiler does: the edition, the
/// release profile, and which features the dependencies have.
fn relevant_settings<'a>(
    manifest: &'a str,
    dependencies: &BTreeSet<String>,
) -> impl Iterator<Item = &'a str> {
    settings(manifest)
        .filter(|(section, line)| match *section {
            "workspace.package" => key(line) == "edition",
            "workspace.dependencies" => dependencies.contains(key(line)),
            section => section.starts_with("profile.release"),
        })
        .map(|(_, line)| line)
}

/// The lines of a manifest that set something, each with its section.
fn settings(manifest: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut section = "";
    manifest.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            return None;
        }
        let is_setting = !line.starts_with('#') && line.contains('=');
        is_setting.then_some((section, line))
    })
}

fn key(line: &str) -> &str {
    line.split(['=', '.']).next().unwrap_or_default().trim()
}

/// The packages of a lock file that `names` need, with the checksums that stand for their
/// versions. Packages of this workspace have none, and their dependencies are in `names`.
fn locked(lock: &str, names: BTreeSet<String>) -> BTreeMap<&str, &str> {
    let packages: Vec<&str> = lock.split("[[package]]").skip(1).collect();
    let mut waiting: Vec<String> = names.into_iter().collect();
    let mut found = BTreeMap::new();
    while let Some(name) = waiting.pop() {
        // `name`, or `name version` where there are several.
        let (name, version) = match name.split_once(' ') {
            Some((name, version)) => (name, Some(version)),
            None => (name.as_str(), None),
        };
        let package = packages.iter().find(|package| {
            value(package, "name") == Some(name)
                && version.is_none_or(|version| value(package, "version") == Some(version))
        });
        let Some(package) = package.filter(|_| name != BUILD_SCRIPTS_ONLY) else {
            continue;
        };
        if let Some(checksum) = value(package, "checksum")
            && let Some(name) = value(package, "name")
            && found.insert(checksum, name).is_none()
        {
            let listed = package.lines().filter_map(|line| line.strip_prefix(" \""));
            waiting.extend(listed.map(|line| line.trim_end_matches("\",").to_owned()));
        }
    }
    found
}

/// The value of `key` in one table of a lock file.
fn value<'a>(table: &'a str, key: &str) -> Option<&'a str> {
    table
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))
        .map(|value| value.trim_end_matches('"'))
}

/// FNV-1a, 64 bits: finds changes, not forgeries, and needs no dependency.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// A named part, with its lengths: nothing moves from one into the next.
    fn entry(&mut self, name: &str, content: &str) {
        for part in [name, content] {
            self.update(&(part.len() as u64).to_le_bytes());
            self.update(part.as_bytes());
        }
    }

    fn finish(self) -> String {
        format!("{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"aya-build\"\nversion = \"1.0.0\"\n\
        checksum = \"b0\"\ndependencies = [\n \"loud\",\n]\n\n[[package]]\nname = \"aya-ebpf\"\n\
        version = \"0.2.1\"\nchecksum = \"a0\"\ndependencies = [\n \"aya-build\",\n \"syn 2.0.1\",\n]\n\n\
        [[package]]\nname = \"loud\"\nversion = \"1.0.0\"\nchecksum = \"10\"\n\n[[package]]\n\
        name = \"syn\"\nversion = \"1.0.9\"\nchecksum = \"51\"\n\n[[package]]\nname = \"syn\"\n\
        version = \"2.0.1\"\nchecksum = \"52\"\n";

    #[test]
    fn only_packages_that_reach_the_object_count() {
        let names = BTreeSet::from(["aya-ebpf".to_owned(), "kreset-common".to_owned()]);
        let found: Vec<_> = locked(LOCK, names).into_iter().collect();
        assert_eq!(found, [("52", "syn"), ("a0", "aya-ebpf")]);
    }

    #[test]
    fn only_settings_that_reach_the_compiler_count() {
        let manifest = "[workspace.package]\nversion = \"1\"\nedition = \"2024\"\n\
            [workspace.dependencies]\naya = \"1\"\naya-ebpf = \"2\"\n# lto = false\n\
            [profile.release.package.kreset-ebpf]\ndebug = 2\n[workspace.lints.rust]\nx = \"warn\"\n";
        let dependencies = BTreeSet::from(["aya-ebpf".to_owned()]);
        let lines: Vec<_> = relevant_settings(manifest, &dependencies).collect();
        assert_eq!(
            lines,
            ["edition = \"2024\"", "aya-ebpf = \"2\"", "debug = 2"]
        );
    }

    #[test]
    fn dependencies_of_tests_do_not_count() {
        let manifest = "[dependencies]\na = { workspace = true }\nb.workspace = true\n\
            [dev-dependencies]\nc = \"1\"\n";
        let names: Vec<_> = direct_dependencies(manifest).collect();
        assert_eq!(names, ["a", "b"]);
    }

    /// The published test vectors of FNV-1a.
    #[test]
    fn hashes_are_fnv_1a() {
        assert_eq!(hash_bytes(b""), "cbf29ce484222325");
        assert_eq!(hash_bytes(b"foobar"), "85944171f73967e8");
    }
}
