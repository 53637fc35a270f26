//! `cargo xtask accuracy`

use std::ffi::OsString;

use anyhow::Result;

use crate::{exec, lab, setup};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Arguments of the matrix; `cargo xtask accuracy -- --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    matrix: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // Only a whole run writes it.
    let document = exec::root()?.join("docs/accuracy.md");
    let mut words: Vec<OsString> = vec!["accuracy".into(), "--document".into(), document.into()];
    words.extend(arguments.matrix.iter().cloned());
    setup::run(setup::Purpose::Run)?;
    lab::become_lab(&words)
}
