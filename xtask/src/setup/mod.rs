//! `cargo xtask setup`: finds or installs what building and testing need.
//!
//! [`facts`] says what is installed, [`plan`] picks the next step from that alone, [`session`] takes
//! it. The facts are then gathered again until nothing is missing: whether a step worked is decided
//! by what is installed afterwards, not by its exit status.

mod facts;
mod kafka;
mod part;
mod plan;
mod python;
pub(crate) mod receivers;
mod session;
mod step;

use anyhow::{Result, bail};

pub(crate) use self::python::python;
use self::{
    facts::Facts,
    plan::{Next, next},
    session::Session,
    step::Step,
};

/// What the tools are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building the kernel side.
    KernelSide,
    /// Building the programs. The kernel side's tools are needed if the shipped object is stale.
    Build,
    /// Building, and running the lab or the privileged tests.
    Run,
    /// The same, and the lab's real brokers and clients.
    Kafka,
}

/// A program, and the Debian package that contains it.
pub(crate) type Program = (&'static str, &'static str);

/// What librdkafka, which the Kafka sink contains, is built with beside a C compiler.
pub(crate) const LIBRDKAFKA: [Program; 2] = [("make", "make"), ("c++", "g++")];

/// Installs what is missing, or says how to. Prints nothing where nothing is missing.
pub(crate) fn run(purpose: Purpose) -> Result<()> {
    run_with(purpose, &[])
}

/// The same with the packages of more programs.
pub(crate) fn run_with(purpose: Purpose, programs: &[Program]) -> Result<()> {
    let mut session = Session::default();
    let installed = install(&mut session, |tried| {
        next(&Facts::gather(purpose, programs), tried)
    })?;
    let with_kafka = purpose == Purpose::Kafka && kafka::install(&mut session)?;
    if installed || with_kafka {
        eprintln!("setup: done");
    }
    Ok(())
}

/// Installs the packages of those programs that are missing.
pub(crate) fn programs(programs: &[Program]) -> Result<()> {
    install(&mut Session::default(), |tried| {
        plan::programs(&facts::missing(programs), facts::has_apt(), tried)
    })?;
    Ok(())
}

/// Installs packages of Debian.
pub(crate) fn packages(names: &[&str]) -> Result<()> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Session::default().take(&Step::InstallPackages(names))
}

/// Installs a nightly compiler, if none is installed.
pub(crate) fn nightly() -> Result<()> {
    install(&mut Session::default(), |tried| {
        plan::nightly(facts::has_nightly(), tried)
    })?;
    Ok(())
}

/// Takes the steps that `next` picks until nothing is missing. Whether there were any.
fn install(session: &mut Session, next: impl Fn(&[Step]) -> Next) -> Result<bool> {
    let mut tried = Vec::new();
    loop {
        match next(&tried) {
            Next::Ready => return Ok(!tried.is_empty()),
            Next::Stuck(reason) => match session.log() {
                Some(log) => bail!("{reason} (the output of what was tried: {})", log.display()),
                None => bail!("{reason}"),
            },
            Next::Take(step) => {
                if let Err(error) = session.take(&step) {
                    eprintln!("setup: failed: {error:#}");
                }
                tried.push(step);
            }
        }
    }
}
