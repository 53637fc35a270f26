//! Names of addresses, from a file in the format of hosts(5). No resolver is asked: a name that
//! somebody's DNS gives is no fact, and an agent does not wait for it.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use smol_str::SmolStr;
use thiserror::Error;

use super::escape::Escaped;

/// The largest file: some hundred thousand hosts.
const LARGEST: u64 = 16 << 20;

/// Why a file of names is not used.
#[derive(Debug, Error)]
pub enum HostNamesError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too large.
    #[error("{} is larger than 16 MiB", .0.display())]
    Large(PathBuf),
    /// A line is wrong.
    #[error("{}:{line}: {}", path.display(), Escaped(sentence))]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What was given, and what is expected.
        sentence: String,
    },
}

/// Names of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames(HashMap<IpAddr, SmolStr>);

impl HostNames {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is larger than 16 MiB, or a line has no valid address and name.
    pub fn read(path: &str) -> Result<Arc<Self>, HostNamesError> {
        let path = Path::new(path);
        let failed = |source| HostNamesError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let mut text = String::new();
        file.take(LARGEST + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        if text.len() as u64 > LARGEST {
            return Err(HostNamesError::Large(path.to_owned()));
        }
        let names = Self::parse(&text).map_err(|(line, sentence)| HostNamesError::Line {
            path: path.to_owned(),
            line,
            sentence,
        })?;
        Ok(Arc::new(names))
    }

    /// Of an address's names the first one of the first line counts, as for a resolver.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut names = HashMap::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next() else {
                continue;
            };
            // A scope, such as that of fe80::1%lo0, is of the host that the file is for.
            let bare = address.split('%').next().unwrap_or_default();
            let Ok(bare) = bare.parse::<IpAddr>() else {
                let sentence = format!("invalid address \"{address}\": expected an IP address");
                return Err((number, sentence));
            };
            let Some(name) = words.next() else {
                return Err((number, format!("expected a name after {address}")));
            };
            names
                .entry(bare.to_canonical())
                .or_insert_with(|| name.into());
        }
        Ok(Self(names))
    }

    /// The name of an address.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<SmolStr> {
        self.0.get(&address).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, address: &str) -> Option<String> {
        let names = HostNames::parse(text).unwrap();
        names.of(address.parse().unwrap()).map(Into::into)
    }

    #[test]
    fn the_first_name_of_an_address_counts() {
        let text = "# brokers\n10.0.2.7\tkafka-1.example kafka-1 # rack a\n\n10.0.2.7 other\n\
                    ::1 localhost\nfe80::1%lo0 gateway\n::ffff:10.0.2.8 kafka-2\n";
        for (address, name) in [
            ("10.0.2.7", Some("kafka-1.example")),
            ("::1", Some("localhost")),
            ("fe80::1", Some("gateway")),
            ("10.0.2.8", Some("kafka-2")),
            ("10.0.2.9", None),
        ] {
            assert_eq!(of(text, address).as_deref(), name, "{address}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, sentence) in [
            (
                "10.0.2.7 a\nkafka-1 10.0.2.7\n",
                2,
                "invalid address \"kafka-1\": expected an IP address",
            ),
            ("\n10.0.2.7 # a\n", 2, "expected a name after 10.0.2.7"),
        ] {
            assert_eq!(
                HostNames::parse(text),
                Err((line, sentence.to_owned())),
                "{text}"
            );
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hosts");
        std::fs::write(&path, "x\u{1b} y\n").unwrap();
        let error = HostNames::read(path.to_str().unwrap()).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("hosts:1: invalid address \"x\\u{1b}\": expected an IP address"),
            "{error}"
        );
    }
}
