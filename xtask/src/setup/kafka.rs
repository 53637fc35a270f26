//! The lab's real parts: Apache Kafka, librdkafka and kafkajs, each by its own package manager, in
//! `kafka` of cargo's target directory.
//!
//! The list that a part was installed from is kept beside it: a part is installed again if its list
//! has changed.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{
    Program,
    part::{COPY_JARS, Part},
    session::Session,
};
use crate::{exec, files};

/// Where the lists and the sources are, below this repository's root.
const SOURCES: &str = "kreset-lab/kafka";

/// The programs that install and run the parts.
pub(super) const PROGRAMS: [Program; 9] = [
    ("java", "default-jdk-headless"),
    ("javac", "default-jdk-headless"),
    ("mvn", "maven"),
    ("python3", "python3"),
    ("pip3", "python3-pip"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("haproxy", "haproxy"),
    ("nginx", "libnginx-mod-stream"),
];

/// Installs what is missing.
pub(super) fn install(session: &mut Session) -> Result<bool> {
    let home = exec::target_directory()?.join("kafka");
    let sources = exec::root()?.join(SOURCES);
    files::make_directory(&home)?;
    let parts = [
        Part {
            name: "libs",
            lists: &[
                "pom.xml",
                "java/Broker.java",
                "java/Client.java",
                "java/Warm.java",
            ],
            install: jars,
        },
        Part {
            name: "python",
            lists: &["python/requirements.txt"],
            install: python,
        },
        Part {
            name: "js",
            lists: &["js/package.json"],
            install: js,
        },
    ];
    let mut installed = false;
    for part in parts {
        installed |= part.install_once(session, &sources, &home)?;
    }
    Ok(installed)
}

fn jars(session: &mut Session, sources: &Path, libs: &Path) -> Result<()> {
    session.run(
        "installing Apache Kafka and its Java client",
        Command::new("mvn")
            .args(["--quiet", "--batch-mode", "--file"])
            .arg(sources.join("pom.xml"))
            .args([COPY_JARS, "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", libs.display())),
    )?;
    let class_path = format!("{}/*", libs.display());
    let classes = libs.with_file_name("classes");
    session.run(
        "compiling the lab's Java programs",
        Command::new("javac")
            .args(["-cp", &class_path, "-d"])
            .arg(&classes)
            .arg(sources.join("java/Broker.java"))
            .arg(sources.join("java/Client.java"))
            .arg(sources.join("java/Warm.java")),
    )?;
    checkpoint(session, libs, &class_path)?;
    // Last, because the lab looks for this file to see whether all parts are installed.
    session.run(
        "packing the lab's Java programs",
        Command::new("jar")
            .arg("--create")
            .arg("--file")
            .arg(libs.join("kreset-lab.jar"))
            .arg("-C")
            .arg(&classes)
            .arg("."),
    )?;
    archive(session, libs, &class_path)
}

/// Archives the classes that brokers and clients load (class data sharing, JEP 350): a broker then
/// starts in half the processor time. The archive is valid for one class path only, and the lab
/// works without it.
fn archive(session: &mut Session, libs: &Path, class_path: &str) -> Result<()> {
    let archive = libs.with_file_name("loaded.jsa");
    if archive.exists() {
        fs::remove_file(&archive)?;
    }
    session.run(
        "archiving the classes that brokers and clients load",
        Command::new("java")
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg(format!("-XX:ArchiveClassesAtExit={}", archive.display()))
            .args(["-cp", class_path, "Warm"])
            .arg(libs.with_file_name("empty-broker.properties")),
    )
}

/// The content of an empty broker's directory is the same for all brokers, and only a JVM makes it.
fn checkpoint(session: &mut Session, libs: &Path, class_path: &str) -> Result<()> {
    let data = libs.with_file_name("empty-broker");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let properties = libs.with_file_name("empty-broker.properties");
    fs::write(
        &properties,
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:19001\n\
             listeners=PLAINTEXT://127.0.0.1:19101,CONTROLLER://127.0.0.1:19001\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\n",
            data.display()
        ),
    )?;
    session.run(
        "formatting an empty broker",
        Command::new("java")
            .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", class_path])
            .args(["kafka.tools.StorageTool", "format"])
            .args(["--cluster-id", "kresetlabkresetlabkres", "--config"])
            .arg(&properties),
    )?;
    let made = data.join("bootstrap.checkpoint");
    files::copy(&made, &libs.with_file_name("bootstrap.checkpoint"))
}

fn python(session: &mut Session, sources: &Path, directory: &Path) -> Result<()> {
    session.run(
        "installing librdkafka for Python",
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--target"])
            .arg(directory)
            .arg("--requirement")
            .arg(sources.join("python/requirements.txt")),
    )
}

fn js(session: &mut Session, sources: &Path, directory: &Path) -> Result<()> {
    fs::copy(
        sources.join("js/package.json"),
        directory.join("package.json"),
    )
    .context("cannot copy package.json")?;
    session.run(
        "installing kafkajs",
        Command::new("npm")
            .args([
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
            ])
            .arg("--prefix")
            .arg(directory),
    )
}
