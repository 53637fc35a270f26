//! `cargo xtask fleet-test`

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{exec, setup};

/// Receivers that Debian has.
const PACKAGES: [&str; 2] = ["rsyslog", "prometheus"];

/// The broker's jars: what a plaintext listener does without is left out.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>kreset</groupId><artifactId>broker</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.3.1</version>
<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
</dependencies></project>
"#;

/// Tests delivery against real receivers, those of Java too.
pub(crate) fn run() -> Result<()> {
    setup::run(setup::Purpose::Build)?;
    install(&[("rsyslogd", PACKAGES[0]), ("prometheus", PACKAGES[1])])?;
    let libs = broker()?;
    exec::run(
        exec::cargo()
            .env("KRESET_KAFKA_LIBS", libs)
            .args(["test", "--locked", "--package", "kreset"])
            .args(["--features", "receivers,kafka", "--test", "fleet"])
            .args(["--", "--nocapture"]),
    )
}

/// Tests delivery against the receivers that cost little to install.
pub(crate) fn light() -> Result<()> {
    install(&[("rsyslogd", PACKAGES[0]), ("prometheus", PACKAGES[1])])?;
    exec::run(
        exec::cargo()
            .args(["test", "--locked", "--package", "kreset"])
            .args(["--features", "receivers", "--test", "fleet"]),
    )
}

/// Installs the packages whose programs are missing.
fn install(programs: &[(&str, &'static str)]) -> Result<()> {
    let missing: Vec<_> = programs
        .iter()
        .filter(|(program, _)| exec::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    setup::packages(&missing)
}

/// The directory of a broker's jars, filled by Maven.
fn broker() -> Result<PathBuf> {
    let directory = exec::target_directory()?.join("broker");
    let libs = directory.join("libs");
    if libs.is_dir() {
        return Ok(libs);
    }
    fs::create_dir_all(&directory).context("cannot make a directory for the broker")?;
    fs::write(directory.join("pom.xml"), POM).context("cannot write the broker's pom.xml")?;
    exec::run(
        std::process::Command::new("mvn")
            .current_dir(&directory)
            .args(["--quiet", "--batch-mode", "dependency:copy-dependencies"])
            .args(["-DincludeScope=runtime", "-DoutputDirectory=libs"]),
    )?;
    Ok(libs)
}
