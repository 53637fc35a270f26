//! Certificates for a broker, made when they are needed and valid for a day.

use std::path::{Path, PathBuf};

use super::scratch::Scratch;
use crate::{
    error::Result,
    net::BROKER_V4,
    util::program::{self, OPENSSL},
};

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
        let [ca, ca_key, request, certificate] =
            ["ca.pem", "ca.key", "broker.csr", "broker.crt"].map(|name| made.name(name));
        program::run(
            OPENSSL,
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                &ca,
                "-CAkey",
                &ca_key,
                "-days",
                "1",
                "-copy_extensions",
                "copy",
                "-out",
                &certificate,
            ],
            "",
        )?;
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
        let key = self.name(&format!("{name}.key"));
        let certificate = self.name(&format!("{name}.pem"));
        let subject = format!("/CN=kreset-lab {name}");
        let arguments = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "1",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &certificate,
        ];
        program::run(OPENSSL, &arguments, "").map(drop)
    }

    fn request(&self, name: &str) -> Result<()> {
        let key = self.name(&format!("{name}.key"));
        let request = self.name(&format!("{name}.csr"));
        let names = format!("subjectAltName=IP:{BROKER_V4}");
        let arguments = [
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=broker",
            "-addext",
            &names,
            "-keyout",
            &key,
            "-out",
            &request,
        ];
        program::run(OPENSSL, &arguments, "").map(drop)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    use crate::error::Context as _;
    std::fs::read(path).context(|| format!("read {}", path.display()))
}
