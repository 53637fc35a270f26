//! Calling other programs.

use std::{
    io::{ErrorKind, Write as _},
    process::{Command, Stdio},
};

use crate::error::{Context as _, Error, Result};

/// A program that the lab calls, and the Debian package that brings it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    package: &'static str,
}

impl Program {
    const fn new(name: &'static str, package: &'static str) -> Self {
        Self { name, package }
    }
}

/// `ip`, of iproute2.
pub(crate) const IP: Program = Program::new("ip", "iproute2");

/// `ss`, of iproute2.
pub(crate) const SS: Program = Program::new("ss", "iproute2");

/// `nft`, of nftables.
pub(crate) const NFT: Program = Program::new("nft", "nftables");

/// `conntrack`, of conntrack-tools.
pub(crate) const CONNTRACK: Program = Program::new("conntrack", "conntrack");

/// `prlimit`, which sets the limits of another process.
pub(crate) const PRLIMIT: Program = Program::new("prlimit", "util-linux");

/// `openssl`, which makes certificates for brokers that speak TLS.
pub(crate) const OPENSSL: Program = Program::new("openssl", "openssl");

/// `java`, which runs brokers and Kafka's own client.
pub(crate) const JAVA: Program = Program::new("java", "default-jdk-headless");

/// `python3`, which runs librdkafka.
pub(crate) const PYTHON: Program = Program::new("python3", "python3");

/// `node`, which runs kafkajs.
pub(crate) const NODE: Program = Program::new("node", "nodejs");

/// `haproxy`.
pub(crate) const HAPROXY: Program = Program::new("haproxy", "haproxy");

/// `nginx`, whose stream module is a package of its own.
pub(crate) const NGINX: Program = Program::new("nginx", "libnginx-mod-stream");

/// A program to be started rather than called, wherever Debian has put it.
pub(crate) fn command(program: Program) -> Result<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(Into::into))
        .map(|directory| directory.join(program.name))
        .find(|file| file.is_file())
        .map(Command::new)
        .ok_or(Error::MissingProgram {
            program: program.name,
            package: program.package,
        })
}

/// Fails if one of the programs is missing, before anything was built.
pub(crate) fn check_programs() -> Result<()> {
    for (program, version) in [(IP, "-V"), (NFT, "-v"), (CONNTRACK, "-V")] {
        run(program, &[version], "")?;
    }
    Ok(())
}

/// Runs a program in the calling thread's network namespace and returns its standard output.
pub(crate) fn run(program: Program, arguments: &[&str], input: &str) -> Result<String> {
    let command = || format!("{} {}", program.name, arguments.join(" "));
    let mut child = Command::new(program.name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| match source.kind() {
            ErrorKind::NotFound => Error::MissingProgram {
                program: program.name,
                package: program.package,
            },
            _ => Error::Io {
                context: format!("run `{}`", command()),
                source,
            },
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that refuses its arguments does not read: its own message says more than
        // the broken pipe would.
        let _written = stdin.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .context(|| format!("wait for `{}`", command()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command {
        command: command(),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
