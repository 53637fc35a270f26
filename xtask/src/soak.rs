//! `cargo xtask soak`

use std::ffi::OsString;

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
    let minutes = arguments.minutes.to_string();
    let mut words: Vec<OsString> = ["soak", "--minutes", &minutes].map(Into::into).into();
    if let Some(seed) = arguments.seed {
        words.extend(["--seed".into(), seed.to_string().into()]);
    }
    if arguments.attack {
        words.push("--attack".into());
    }
    lab::become_lab(&words)
}
