//! `cargo xtask accuracy`

use std::ffi::OsString;

use anyhow::Result;

use crate::lab;

/// Where the result is written for people to read.
const DOCUMENT: &str = "docs/accuracy.md";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write docs/accuracy.md as well
    #[arg(long)]
    write: bool,
    /// What the matrix is told; `cargo xtask accuracy -- --help` lists it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    matrix: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut words: Vec<OsString> = vec!["accuracy".into()];
    if arguments.write {
        words.extend(["--document".into(), DOCUMENT.into()]);
    }
    words.extend(arguments.matrix.iter().cloned());
    lab::become_lab(&words)
}
