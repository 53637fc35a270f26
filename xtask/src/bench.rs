//! `cargo xtask bench`

use std::{ffi::OsString, os::unix::process::CommandExt as _};

use anyhow::{Error, Result};

use crate::{
    build, exec,
    lab::TRACER_VARIABLE,
    setup::{self, Program},
};

/// The tools that people use today for the same question.
const PEERS: [Program; 4] = [
    ("bpftrace", "bpftrace"),
    ("tcpdump", "tcpdump"),
    ("tcpstates", "libbpf-tools"),
    ("tcplife", "libbpf-tools"),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Arguments of the benchmark; `cargo xtask bench -- --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    bench: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::run(setup::Purpose::Kafka)?;
    if let Err(error) = setup::programs(&PEERS) {
        // The tables say of each that it does not run here.
        eprintln!("bench: not all tools to compare with could be installed: {error:#}");
    }
    let tracer = build::tracer()?;
    let lab = build::release("kreset-lab", "kreset-lab")?;
    let page = exec::root()?.join("docs/performance.md");
    let mut command = exec::as_root(&[(TRACER_VARIABLE, tracer.as_os_str())])?;
    command
        .args([lab.as_os_str(), "bench".as_ref(), "--page".as_ref()])
        .arg(page);
    command.args(&arguments.bench);
    // As for the lab: only the benchmark runs as root, and it replaces this process.
    Err(Error::new(command.exec()).context(format!("`{}` did not start", exec::show(&command))))
}
