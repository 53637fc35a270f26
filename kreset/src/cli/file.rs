//! A configuration file as part of the command line.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, ArgMatches, CommandFactory as _, parser::ValueSource};

use super::{CommandLine, Refused, sentence};
use crate::{
    config::{ConfigError, ConfigFile, Key, Takes},
    sink::SinkConfig,
};

/// Flags that replace a sink.
const OUTPUT: [&str; 2] = ["output", "format"];
/// Flags that are not keys of a file.
const NOT_IN_FILES: [&str; 3] = ["config", "help", "version"];

/// The file that a command line names.
pub(super) struct File {
    config: ConfigFile,
    /// Whether the command line sets an output.
    output_asked: bool,
}

/// Reads the file under `--config`.
pub(super) fn of(matches: &ArgMatches) -> Result<Option<File>, Refused> {
    // Not every subcommand has it.
    let path = innermost(matches).try_get_one::<PathBuf>("config");
    let Some(path) = path.ok().flatten() else {
        return Ok(None);
    };
    let mut config = ConfigFile::read(path, &keys())?;
    if let Some(setting) = config
        .settings
        .iter()
        .find(|it| OUTPUT.contains(&it.key.as_str()))
        && !config.sinks.is_empty()
    {
        let sentence = format!(
            "\"{}\" cannot be combined with [[sink]] tables: set it inside a [[sink]] table",
            setting.key
        );
        let error = config.refuse(setting, &sentence);
        config.errors.push(error);
    }
    let output_asked = OUTPUT.iter().any(|key| is_given(matches, key));
    Ok(Some(File {
        config,
        output_asked,
    }))
}

/// The flags that are keys too.
fn keys() -> Vec<Key> {
    let command = CommandLine::command();
    let flags = command.get_arguments().filter_map(|flag| {
        let name = flag.get_long()?.to_owned();
        let takes = match flag.get_action() {
            ArgAction::SetTrue => Takes::Nothing,
            ArgAction::Count => Takes::Times,
            _ => Takes::Value,
        };
        Some(Key { name, takes })
    });
    flags
        .filter(|key| !NOT_IN_FILES.contains(&key.name.as_str()))
        .collect()
}

/// The flags of the subcommand, or those without one.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| inner)
}

/// Whether a flag was given, rather than left to its default.
fn is_given(matches: &ArgMatches, key: &str) -> bool {
    innermost(matches).value_source(&key.replace('-', "_")) == Some(ValueSource::CommandLine)
}

impl File {
    /// The command line, with the file's settings first.
    pub(super) fn prepend(
        &mut self,
        mut line: Vec<OsString>,
        matches: &ArgMatches,
    ) -> Result<Vec<OsString>, Refused> {
        let mut added = Vec::new();
        let mut errors = std::mem::take(&mut self.config.errors);
        for setting in &self.config.settings {
            // Each alone, so that the error names its line.
            let alone =
                std::iter::once("kreset-trace").chain(setting.arguments.iter().map(String::as_str));
            if let Err(error) = CommandLine::command().try_get_matches_from(alone) {
                errors.push(self.config.refuse(setting, &sentence(&error)));
            }
            if !is_given(matches, &setting.key) {
                added.extend(setting.arguments.iter().map(OsString::from));
            }
        }
        if let Some(error) = ConfigError::all(errors) {
            return Err(error.into());
        }
        let own = 1 + usize::from(matches.subcommand().is_some());
        line.splice(own..own, added);
        Ok(line)
    }

    /// The file's sinks, unless the command line sets an output: testing a
    /// configuration must not write to the SIEM.
    pub(super) fn into_sinks(self) -> Vec<SinkConfig> {
        if self.output_asked {
            Vec::new()
        } else {
            self.config.sinks
        }
    }
}
