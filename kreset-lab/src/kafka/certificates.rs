//! Certificates for a broker, made when they are needed and valid for a day.

use std::path::{Path, PathBuf};

use super::scratch::Scratch;
use crate::{
    error::Result,
    net::BROKER_V4,
    util::program::{self, OPENSSL},
};

/// What makes a key without a password.
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// A certificate authority and a broker's certificate by it, and an authority that signed nothing.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Makes them in `scratch`.
    pub(crate) fn make(scratch: &Scratch) -> Result<Self> {
        let made = Self {
            directory: scratch.path().to_owned(),
        };
        made.authority("ca")?;
        made.authority("stranger")?;
        made.request("broker")?;
        let sign = "x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -days 1 -copy_extensions copy \
                    -out broker.crt";
        made.openssl(sign, &[])?;
        let mut chain = Vec::new();
        for part in ["broker.key", "broker.crt", "ca.pem"] {
            chain.extend(read(&made.path(part))?);
        }
        scratch.write("broker.pem", chain)?;
        Ok(made)
    }

    /// The authority that signed the broker's certificate.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// An authority that did not.
    pub(crate) fn stranger_file(&self) -> PathBuf {
        self.path("stranger.pem")
    }

    /// Key, certificate and authority of the broker.
    pub(crate) fn broker_file(&self) -> PathBuf {
        self.path("broker.pem")
    }

    fn authority(&self, name: &str) -> Result<()> {
        let subject = format!("/CN=kreset-lab {name}");
        let make = format!("req -x509 -days 1 {KEY} -keyout {name}.key -out {name}.pem");
        self.openssl(&make, &["-subj", &subject])
    }

    fn request(&self, name: &str) -> Result<()> {
        let names = format!("subjectAltName=IP:{BROKER_V4}");
        let make = format!("req {KEY} -keyout {name}.key -out {name}.csr -subj /CN=broker");
        self.openssl(&make, &["-addext", &names])
    }

    /// Runs `openssl` with these words as its arguments, files being those of the directory, and
    /// with `more`.
    fn openssl(&self, words: &str, more: &[&str]) -> Result<()> {
        let is_file = |word: &str| {
            [".pem", ".key", ".csr", ".crt"]
                .iter()
                .any(|end| word.ends_with(end))
        };
        let word = |word: &str| {
            if is_file(word) {
                self.path(word).display().to_string()
            } else {
                word.to_owned()
            }
        };
        let words: Vec<_> = words.split_whitespace().map(word).collect();
        let arguments: Vec<_> = words
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        program::run(OPENSSL, &arguments, "").map(drop)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    use crate::error::Context as _;
    std::fs::read(path).context(|| format!("read {}", path.display()))
}
