//! The receivers that Debian does not have, each by its own package manager, in `receivers` of
//! cargo's target directory.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::{
    part::{COPY_JARS, Part},
    python,
    session::Session,
};
use crate::{exec, files};

/// Where the lists are, below this repository's root.
const SOURCES: &str = "kreset/tests/fleet";

/// Builds a Collector from a list of its parts, and has the version of those parts.
const BUILDER: &str = "go.opentelemetry.io/collector/cmd/builder@v0.157.0";

/// The directory of OpenSearch's jars.
pub(crate) fn opensearch() -> Result<PathBuf> {
    install(&Part {
        name: "opensearch",
        lists: &["opensearch/pom.xml"],
        install: jars,
    })
}

/// The OpenTelemetry Collector.
pub(crate) fn collector() -> Result<PathBuf> {
    let directory = install(&Part {
        name: "collector",
        lists: &["collector/manifest.yaml"],
        install: build,
    })?;
    Ok(directory.join("dist/otelcol-kreset-test"))
}

/// The directory of the engines that correlate: each has an environment of Python of its own, and
/// Flink what connects it to Kafka.
pub(crate) fn engines() -> Result<PathBuf> {
    for part in [
        Part {
            name: "clickhouse",
            lists: &["correlate/clickhouse.txt"],
            install: |_, sources, directory| environment(sources, "clickhouse", directory),
        },
        Part {
            name: "flink",
            lists: &["correlate/flink.txt", "correlate/pom.xml"],
            install: |session, sources, directory| {
                environment(sources, "flink", directory)?;
                jars_of(session, &sources.join("correlate/pom.xml"), directory)
            },
        },
    ] {
        install(&part)?;
    }
    Ok(exec::target_directory()?.join("receivers"))
}

fn environment(sources: &Path, name: &str, directory: &Path) -> Result<()> {
    let list = sources.join(format!("correlate/{name}.txt"));
    let pins = files::read_text(&list)?;
    eprintln!("setup: installing {} (some minutes)", pins.trim());
    python(directory, &pins.lines().collect::<Vec<_>>())
}

fn install(part: &Part) -> Result<PathBuf> {
    let home = exec::target_directory()?.join("receivers");
    files::make_directory(&home)?;
    let sources = exec::root()?.join(SOURCES);
    part.install_once(&mut Session::default(), &sources, &home)?;
    Ok(home.join(part.name))
}

fn jars(session: &mut Session, sources: &Path, directory: &Path) -> Result<()> {
    jars_of(session, &sources.join("opensearch/pom.xml"), directory)
}

fn jars_of(session: &mut Session, list: &Path, directory: &Path) -> Result<()> {
    session.run(
        &format!("installing the jars of {}", list.display()),
        Command::new("mvn")
            .args(["--quiet", "--batch-mode", "--file"])
            .arg(list)
            .args([COPY_JARS, "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", directory.display())),
    )
}

fn build(session: &mut Session, sources: &Path, directory: &Path) -> Result<()> {
    if exec::find("go").is_none() {
        bail!("building the OpenTelemetry Collector needs Go 1.25 or newer: https://go.dev/dl");
    }
    session.run(
        "installing the OpenTelemetry Collector builder",
        Command::new("go")
            .args(["install", BUILDER])
            .env("GOBIN", directory),
    )?;
    session.run(
        "building an OpenTelemetry Collector (some minutes)",
        Command::new(directory.join("builder"))
            .current_dir(directory)
            .arg("--skip-strict-versioning")
            .arg("--config")
            .arg(sources.join("collector/manifest.yaml")),
    )
}
