//! What is checked and tested of this workspace, and with which features.
//!
//! Cargo compiles a dependency anew for each set of features, and the features of a dependency come
//! from all packages that a command selects. So the commands of `cargo xtask test` select the same.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::exec;

/// Turn on all tests but those of `cargo xtask fleet-test`.
const FEATURES: &str = "kreset/receivers,kreset-lab/privileged";

/// The test programs of the workspace.
pub(crate) struct Tests {
    /// They need no rights.
    pub(crate) plain: Vec<String>,
    /// They need root.
    pub(crate) privileged: Vec<String>,
}

/// Cargo's `subcommand` for all packages, with the features of their tests.
pub(crate) fn cargo(subcommand: &str) -> Command {
    cargo_with(subcommand, &[])
}

/// Builds all programs and examples.
///
/// With an example, cargo counts the features of tests too: so this and the tests share
/// dependencies.
pub(crate) fn build() -> Command {
    let mut command = cargo("build");
    command.args(["--bins", "--examples"]);
    command
}

/// The same with more features.
pub(crate) fn cargo_with(subcommand: &str, features: &[&str]) -> Command {
    let features = [&[FEATURES], features].concat().join(",");
    let mut command = exec::cargo();
    command
        .args([subcommand, "--workspace", "--locked"])
        .args(["--features", &features]);
    command
}

/// Finds the test programs: those that need root are behind the feature `privileged`.
pub(crate) fn tests() -> Result<Tests> {
    let said = exec::output(
        exec::cargo()
            .args(["metadata", "--format-version", "1", "--locked", "--no-deps"])
            .current_dir(exec::root()?),
    )?;
    let metadata = serde_json::from_str(&said).context("cargo's metadata is not JSON")?;
    let tests = tests_in(&metadata);
    // Cargo selects tests by name, in all packages at once.
    if let Some(name) = tests
        .plain
        .iter()
        .find(|name| tests.privileged.contains(name))
    {
        bail!("two tests are called {name:?}, and one of them needs root: rename it");
    }
    Ok(tests)
}

fn tests_in(metadata: &Value) -> Tests {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (privileged, plain) = list(&metadata["packages"])
        .iter()
        .flat_map(|package| list(&package["targets"]))
        .filter(|target| list(&target["kind"]).contains(&"test".into()))
        .partition::<Vec<_>, _>(|target| {
            list(&target["required-features"]).contains(&"privileged".into())
        });
    let names = |targets: Vec<Value>| {
        let names = targets.iter().filter_map(|target| target["name"].as_str());
        names.map(str::to_owned).collect()
    };
    Tests {
        plain: names(plain),
        privileged: names(privileged),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_test_that_needs_root_is_known_by_its_feature() {
        let tests = tests_in(&json!({ "packages": [
            { "targets": [
                { "name": "kreset", "kind": ["lib"] },
                { "name": "rules", "kind": ["test"] },
                { "name": "fleet", "kind": ["test"], "required-features": ["receivers"] },
            ] },
            { "targets": [
                { "name": "network", "kind": ["test"], "required-features": ["privileged"] },
            ] },
        ] }));
        assert_eq!(tests.plain, ["rules", "fleet"]);
        assert_eq!(tests.privileged, ["network"]);
    }
}
