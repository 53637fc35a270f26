//! `cargo xtask lab`

use std::{ffi::OsString, os::unix::process::CommandExt as _};

use anyhow::{Error, Result};

use crate::{build, exec, setup};

/// Tells the lab and its tests which `kreset-trace` to judge.
pub(crate) const TRACER_VARIABLE: &str = "KRESET_TRACE";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run the scenarios with real brokers and clients, and install these if they are missing
    #[arg(long)]
    kafka: bool,
    /// What the lab is told; `cargo xtask lab -- --help` lists it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    lab: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::run(if arguments.kafka {
        setup::Purpose::Kafka
    } else {
        setup::Purpose::Run
    })?;
    // As many at once as two cores carry.
    let all = ["run", "--kafka", "--jobs", "4"].map(OsString::from);
    match (arguments.kafka, arguments.lab.as_slice()) {
        (true, []) => become_lab(&all),
        (_, asked) => become_lab(asked),
    }
}

/// Runs the lab's program in this process's place; what it needs is set up.
pub(crate) fn become_lab(arguments: &[OsString]) -> Result<()> {
    let tracer = build::tracer()?;
    let lab = build::release("kreset-lab", "kreset-lab")?;

    // The lab alone is run as root, so that cargo leaves no file of root's in the target directory.
    let mut command = exec::as_root(&[(TRACER_VARIABLE, tracer.as_os_str())])?;
    command.arg(lab).args(arguments);

    // The lab takes this process's place: at Ctrl-C it has a network to take down, and the shell
    // has to wait for that.
    Err(Error::new(command.exec()).context(format!("`{}` did not start", exec::show(&command))))
}
