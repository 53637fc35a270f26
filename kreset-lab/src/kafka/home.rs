//! Where `cargo xtask setup --kafka` has put the real parts.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{Context as _, Error, Result},
    util::program::{self, JAVA, NODE, PYTHON},
};

/// The variable that names the directory, if it is not the usual one.
pub const VARIABLE: &str = "KRESET_KAFKA";

/// The directory of the real parts: `kafka` in cargo's target directory.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// Finds it, by [`VARIABLE`] or beside the running program, and makes sure that a broker can
    /// be run from it.
    pub fn find() -> Result<Self> {
        let home = match env::var_os(VARIABLE) {
            Some(directory) => Self(directory.into()),
            None => Self::beside(
                &env::current_exe().context(|| "find this program's own file".to_owned())?,
            ),
        };
        home.demand("Apache Kafka", &home.jar())?;
        Ok(home)
    }

    /// Cargo builds programs in `target/release`, and tests in `target/release/deps`.
    fn beside(program: &Path) -> Self {
        let target = program
            .ancestors()
            .skip(1)
            .find(|directory| directory.join("kafka/libs").is_dir())
            .or_else(|| program.ancestors().nth(2))
            .unwrap_or(program);
        Self(target.join("kafka"))
    }

    pub(crate) fn demand(&self, what: &'static str, file: &Path) -> Result<()> {
        if file.exists() {
            return Ok(());
        }
        Err(Error::MissingKafka {
            what,
            directory: self.0.clone(),
        })
    }

    /// The lab's own programs for the JVM, which setup makes last.
    fn jar(&self) -> PathBuf {
        self.0.join("libs/kreset-lab.jar")
    }

    /// What an empty broker finds in its directory.
    pub(crate) fn bootstrap_checkpoint(&self) -> PathBuf {
        self.0.join("bootstrap.checkpoint")
    }

    /// `java`, small and quick to start, with all of Kafka on its class path.
    pub fn java(&self, heap: &str) -> Result<Command> {
        let mut command = program::command(JAVA)?;
        command.args([
            heap,
            "-Xss256k",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
        ]);
        // Only where setup could make it: it saves half of a broker's start.
        let archive = self.0.join("loaded.jsa");
        if archive.exists() {
            command.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
        }
        command
            .arg("-cp")
            .arg(format!("{}/*", self.0.join("libs").display()));
        Ok(command)
    }

    /// `python3`, with librdkafka.
    pub(crate) fn python(&self) -> Result<Command> {
        let packages = self.0.join("python");
        self.demand("librdkafka", &packages.join("confluent_kafka"))?;
        let mut command = program::command(PYTHON)?;
        command.env("PYTHONPATH", packages);
        Ok(command)
    }

    /// `node`, with kafkajs.
    pub(crate) fn node(&self) -> Result<Command> {
        let packages = self.0.join("js/node_modules");
        self.demand("kafkajs", &packages.join("kafkajs"))?;
        let mut command = program::command(NODE)?;
        command
            .env("NODE_PATH", packages)
            .env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_place_is_in_the_target_directory() {
        let home = Home::beside(Path::new("/nowhere/target/release/kreset-lab"));
        assert_eq!(home.0, Path::new("/nowhere/target/kafka"));
    }

    #[test]
    fn what_is_missing_is_named_with_what_brings_it() {
        let home = Home("/nowhere".into());
        let error = home.python().expect_err("not there").to_string();
        assert!(
            error.contains("librdkafka") && error.contains("cargo xtask setup --kafka"),
            "{error}"
        );
    }
}
