//! `cargo xtask bench`

use std::{ffi::OsString, os::unix::process::CommandExt as _, path::Path};

use anyhow::{Context as _, Error, Result};

use crate::{build, exec, lab::TRACER_VARIABLE, setup};

/// What people use today for the same question, and the packages that bring it.
const PEERS: [(&str, &str); 4] = [
    ("bpftrace", "bpftrace"),
    ("tcpdump", "tcpdump"),
    ("tcpstates", "libbpf-tools"),
    ("tcplife", "libbpf-tools"),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What the benchmark is told; `cargo xtask bench -- --help` lists it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    bench: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::run(setup::Purpose::Run)?;
    let mut missing: Vec<&str> = PEERS
        .iter()
        .filter(|(program, _)| exec::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if !missing.is_empty() {
        eprintln!(
            "bench: installing what kreset is compared with: {}",
            missing.join(", ")
        );
        if let Err(error) = setup::packages(&missing) {
            // The tables say of each that it does not run here.
            eprintln!("bench: that failed, and they stay out of the comparison: {error:#}");
        }
    }
    let tracer = build::tracer()?;
    let lab = build::release("kreset-lab", "kreset-lab")?;
    let page = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("this package is in no workspace")?
        .join("docs/performance.md");
    let mut command = exec::as_root(&[(TRACER_VARIABLE, tracer.as_os_str())])?;
    command.args([lab.as_os_str(), "bench".as_ref(), "--page".as_ref()]).arg(page);
    command.args(&arguments.bench);
    // As for the lab: the benchmark alone is run as root, in this process's place.
    Err(Error::new(command.exec()).context(format!("`{}` did not start", exec::show(&command))))
}
