//! The configuration file: TOML, its keys named as the flags are.
//!
//! A key becomes the flag of its name, so that the same code checks both and
//! they mean the same. Only `[[sink]]` tables have no flag.

mod sinks;
#[cfg(test)]
mod tests;
mod value;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{sink::SinkConfig, util::escape::Escaped};

/// Why a file was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{}:{line}: {sentence}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what is valid.
        sentence: String,
    },
    /// Several things are wrong: a line for each.
    #[error("{}", lines(.0))]
    Several(Vec<Self>),
}

impl ConfigError {
    /// All that is wrong, in the order of the file; `None` if nothing is.
    #[must_use]
    pub fn all(mut errors: Vec<Self>) -> Option<Self> {
        errors.sort_by_key(|error| match error {
            Self::Wrong { line, .. } => *line,
            Self::Read { .. } | Self::Several(_) => 0,
        });
        if errors.len() > 1 {
            return Some(Self::Several(errors));
        }
        errors.pop()
    }
}

fn lines(errors: &[ConfigError]) -> String {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// What a flag takes, and so its key in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: given or not.
    Nothing,
    /// Nothing, and it may be given several times.
    Times,
    /// A value.
    Value,
}

/// A flag that a file may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name without dashes.
    pub name: String,
    /// What it takes.
    pub takes: Takes,
}

/// A key of the file, as flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// The flags with the same meaning.
    pub arguments: Vec<String>,
    /// Its line, from 1.
    pub line: usize,
}

/// A file that was read.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    /// The keys, in the order of the file.
    pub settings: Vec<Setting>,
    /// The `[[sink]]` tables.
    pub sinks: Vec<SinkConfig>,
    /// What is wrong with either.
    pub errors: Vec<ConfigError>,
}

impl ConfigFile {
    /// Reads a file that may have `keys` and `[[sink]]` tables. What is unknown or
    /// wrong is in its `errors`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not TOML.
    pub fn read(path: &Path, keys: &[Key]) -> Result<Self, ConfigError> {
        let path = path.to_owned();
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(path, &text, keys),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    /// Reads the text of the file at `path`, as [`ConfigFile::read`] does.
    ///
    /// # Errors
    ///
    /// When it is not TOML.
    pub fn parse(path: PathBuf, text: &str, keys: &[Key]) -> Result<Self, ConfigError> {
        let wrong = |at: usize, sentence: String| ConfigError::Wrong {
            path: path.clone(),
            line: line_of(text, at),
            sentence: Escaped(&sentence).to_string(),
        };
        let document = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            wrong(at, error.message().replace('\n', "; "))
        })?;
        let mut settings = Vec::new();
        let mut sinks: Vec<SinkConfig> = Vec::new();
        let mut errors = Vec::new();
        for (key, value) in in_order(document.get_ref()) {
            let name = key.get_ref().as_ref();
            if name == "sink" {
                let Some(tables) = tables(value) else {
                    let sentence = "invalid \"sink\": expected a table, written as [[sink]]";
                    errors.push(wrong(key.span().start, sentence.to_owned()));
                    continue;
                };
                for table in tables {
                    match sinks::read(table) {
                        Err((at, sentence)) => errors.push(wrong(at, sentence)),
                        Ok(sink) if sinks.iter().any(|other| other.name == sink.name) => {
                            let sentence = format!(
                                "duplicate sink name \"{}\": give each sink its own name",
                                sink.name
                            );
                            errors.push(wrong(table.span().start, sentence));
                        }
                        Ok(sink) => sinks.push(sink),
                    }
                }
                continue;
            }
            match arguments(name, value.get_ref(), keys) {
                Err(sentence) => errors.push(wrong(key.span().start, sentence)),
                Ok(arguments) => settings.push(Setting {
                    key: name.to_owned(),
                    arguments,
                    line: line_of(text, key.span().start),
                }),
            }
        }
        Ok(Self {
            path,
            settings,
            sinks,
            errors,
        })
    }

    /// Refuses a setting whose value a flag of its name refused.
    #[must_use]
    pub fn refuse(&self, setting: &Setting, sentence: &str) -> ConfigError {
        let sentence = sentence.replace(&format!("--{}", setting.key), &setting.key);
        ConfigError::Wrong {
            path: self.path.clone(),
            line: setting.line,
            sentence: Escaped(&sentence).to_string(),
        }
    }
}

type Entry<'a, 'i> = (
    &'a Spanned<std::borrow::Cow<'i, str>>,
    &'a Spanned<DeValue<'i>>,
);

/// A table's entries in the order in which they were written.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<Entry<'a, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn tables<'a, 'i>(value: &'a Spanned<DeValue<'i>>) -> Option<Vec<&'a Spanned<DeValue<'i>>>> {
    let array = value.get_ref().as_array()?;
    let tables: Vec<_> = array
        .iter()
        .filter(|item| item.get_ref().is_table())
        .collect();
    (tables.len() == array.len()).then_some(tables)
}

/// The line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The flags with the meaning of `name = value`.
fn arguments(name: &str, value: &DeValue<'_>, keys: &[Key]) -> Result<Vec<String>, String> {
    let Some(key) = keys.iter().find(|key| key.name == name) else {
        let names: Vec<_> = keys.iter().map(|key| key.name.as_str()).collect();
        let names = names.join(", ");
        return Err(format!(
            "unknown key \"{name}\"; expected one of {names}, or a [[sink]] table"
        ));
    };
    let flag = format!("--{name}");
    match (key.takes, value) {
        (Takes::Nothing, DeValue::Boolean(given)) => {
            Ok(given.then_some(flag).into_iter().collect())
        }
        (Takes::Nothing, _) => Err(format!(
            "invalid value for \"{name}\": expected true or false"
        )),
        (Takes::Times, value) => {
            let times = scalar(value).and_then(|times| times.parse::<u8>().ok());
            let times = times.filter(|times| *times < 10);
            let times = times.ok_or_else(|| {
                format!("invalid value for \"{name}\": expected a whole number from 0 to 9")
            })?;
            Ok(vec![flag; times.into()])
        }
        (Takes::Value, DeValue::Array(items)) => items
            .iter()
            .map(|item| Ok(format!("{flag}={}", written(name, item.get_ref())?)))
            .collect(),
        (Takes::Value, value) => Ok(vec![format!("{flag}={}", written(name, value)?)]),
    }
}

fn written(name: &str, value: &DeValue<'_>) -> Result<String, String> {
    scalar(value).ok_or_else(|| {
        let kind = value.type_str();
        format!("invalid type for \"{name}\": expected a string or a number, found {kind}")
    })
}

/// A string or a number as it would be written on a command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        _ => None,
    }
}
