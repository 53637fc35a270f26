//! `cargo xtask soak`

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{lab, setup};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long the soak runs
    #[arg(long, value_name = "N", default_value_t = 30)]
    minutes: u64,
    /// Have an attacker forge segments, flood the hosts and hold slow sockets at the metrics
    #[arg(long)]
    attack: bool,
    /// Repeat the choices of an earlier run, which printed its seed
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::run(setup::Purpose::Kafka)?;
    lab::become_lab(&arguments.words())
}

/// The command of a soak with an attacker in it, for so many minutes, with the programs that the
/// tests use.
pub(crate) fn of_tests(minutes: u64) -> Result<Command> {
    let arguments = Arguments {
        minutes,
        attack: true,
        seed: None,
    };
    lab::of_tests(&arguments.words())
}

impl Arguments {
    /// As the lab's command line has them.
    fn words(&self) -> Vec<OsString> {
        let minutes = self.minutes.to_string();
        let mut words: Vec<OsString> = ["soak", "--minutes", &minutes].map(Into::into).into();
        if let Some(seed) = self.seed {
            words.extend(["--seed".into(), seed.to_string().into()]);
        }
        if self.attack {
            words.push("--attack".into());
        }
        words
    }
}
