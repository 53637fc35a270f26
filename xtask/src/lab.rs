//! `cargo xtask lab`

use std::{ffi::OsString, os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Error, Result};

use crate::{build, exec, setup};

/// Names, for the lab and its tests, the `kreset-trace` to judge.
pub(crate) const TRACER_VARIABLE: &str = "KRESET_TRACE";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run the scenarios with real brokers and clients; installs these if they are missing
    #[arg(long)]
    kafka: bool,
    /// Arguments of the lab; `cargo xtask lab -- --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    lab: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::run(if arguments.kafka {
        setup::Purpose::Kafka
    } else {
        setup::Purpose::Run
    })?;
    // Two cores run four scenarios at once.
    let all = ["run", "--kafka", "--jobs", "4"].map(OsString::from);
    let (tracer, lab) = build::quick()?;
    match (arguments.kafka, arguments.lab.as_slice()) {
        (true, []) => execute(&tracer, &lab, &all),
        (_, asked) => execute(&tracer, &lab, asked),
    }
}

/// Runs the lab in place of this process, with the tracer as users have it; both are built first.
pub(crate) fn become_lab(arguments: &[OsString]) -> Result<()> {
    let tracer = build::tracer()?;
    let lab = build::release("kreset-lab", "kreset-lab")?;
    execute(&tracer, &lab, arguments)
}

/// The command that runs the lab as the tests do, with programs that they have built.
pub(crate) fn of_tests(arguments: &[OsString]) -> Result<Command> {
    let programs = exec::target_directory()?.join("debug");
    let [tracer, lab] = ["kreset-trace", "kreset-lab"].map(|name| programs.join(name));
    as_root(&tracer, &lab, arguments)
}

fn execute(tracer: &Path, lab: &Path, arguments: &[OsString]) -> Result<()> {
    become_it(as_root(tracer, lab, arguments)?)
}

/// Only the lab runs as root, so that cargo leaves no file of root's in the target directory.
fn as_root(tracer: &Path, lab: &Path, arguments: &[OsString]) -> Result<Command> {
    let mut command = exec::as_root(&[(TRACER_VARIABLE, tracer.as_os_str())])?;
    command.arg(lab).args(arguments);
    Ok(command)
}

fn become_it(mut command: Command) -> Result<()> {
    // The lab replaces this process: at Ctrl-C it has a network to take down, and the shell has to
    // wait for that.
    Err(Error::new(command.exec()).context(format!("`{}` did not start", exec::show(&command))))
}
