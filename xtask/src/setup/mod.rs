//! `cargo xtask setup`: what building and testing takes, found or installed.
//!
//! [`facts`] says what is there, [`plan`] picks the next step from that alone, [`session`] takes it.
//! The facts are then gathered anew until nothing is left to do: whether a step worked is never
//! taken from its own word.

mod facts;
mod kafka;
mod part;
mod plan;
pub(crate) mod receivers;
mod session;
mod step;

use anyhow::{Result, bail};

use self::{
    facts::Facts,
    plan::{Next, next},
    session::Session,
};

/// What the tools are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building alone.
    Build,
    /// Building, and running the lab or the privileged tests.
    Run,
    /// The same, and the lab's real brokers and clients.
    Kafka,
}

/// Installs packages of the distribution.
pub(crate) fn packages(names: &[&str]) -> Result<()> {
    crate::exec::run(
        step::apt_get()?
            .args(["install", "--yes", "--no-install-recommends"])
            .args(names),
    )
}

/// Installs the packages of those programs that are missing: program and package.
pub(crate) fn programs(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = programs
        .iter()
        .filter(|(program, _)| crate::exec::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    packages(&missing)
}

/// Installs what is missing, or says how to. Says nothing where nothing is missing.
pub(crate) fn run(purpose: Purpose) -> Result<()> {
    let mut session = Session::default();
    let mut tried = Vec::new();
    loop {
        match next(&Facts::gather(purpose), &tried) {
            Next::Ready => break,
            Next::Stuck(reason) => match session.log() {
                Some(log) => bail!("{reason} (what was tried is in {})", log.display()),
                None => bail!("{reason}"),
            },
            Next::Take(step) => {
                if let Err(error) = session.take(&step) {
                    eprintln!("setup: that failed: {error:#}");
                }
                tried.push(step);
            }
        }
    }
    let with_kafka = purpose == Purpose::Kafka && kafka::install(&mut session)?;
    if with_kafka || !tried.is_empty() {
        eprintln!("setup: done");
    }
    Ok(())
}
