//! `--tracer`, of every command that runs one.

use std::path::PathBuf;

use anyhow::Context as _;
use kreset_lab::Error;

#[derive(clap::Args)]
pub(crate) struct TracerOption {
    #[arg(
        long,
        value_name = "PATH",
        help = "The tracer [default: $KRESET_TRACE, else kreset-trace beside this program, else \
                target/release/kreset-trace]"
    )]
    tracer: Option<PathBuf>,
}

impl TracerOption {
    /// Finds the tracer before anything is built.
    pub(crate) fn find(&self) -> anyhow::Result<PathBuf> {
        let path = if let Some(path) = &self.tracer {
            path.clone()
        } else if let Some(path) = std::env::var_os("KRESET_TRACE") {
            path.into()
        } else {
            let own = std::env::current_exe().context("cannot find this program's own file")?;
            let beside = own.with_file_name("kreset-trace");
            if beside.exists() {
                beside
            } else {
                PathBuf::from("target/release/kreset-trace")
            }
        };
        if path.exists() {
            Ok(path)
        } else {
            Err(Error::MissingTracer(path).into())
        }
    }
}
