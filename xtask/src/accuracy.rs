//! `cargo xtask accuracy`

use std::{ffi::OsString, path::Path};

use anyhow::{Context as _, Result};

use crate::{lab, setup};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What the matrix is told; `cargo xtask accuracy -- --help` lists it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    matrix: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // Written by a whole run only: the lab leaves it alone when it is told to run a part.
    let document = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("this package is in no workspace")?
        .join("docs/accuracy.md");
    let mut words: Vec<OsString> = vec!["accuracy".into(), "--document".into(), document.into()];
    words.extend(arguments.matrix.iter().cloned());
    setup::run(setup::Purpose::Run)?;
    lab::become_lab(&words)
}
