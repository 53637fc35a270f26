//! `kreset-lab soak`

use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use kreset_lab::{Stop, soak};

use crate::{complain, say, stop_on_signals, tracer_option::TracerOption};

#[derive(Parser)]
pub(crate) struct Options {
    #[command(flatten)]
    tracer: TracerOption,
    /// How long everything goes on
    #[arg(long, value_name = "N", default_value_t = 30)]
    minutes: u64,
    /// Repeat the choices of an earlier run, which said its seed
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Have an attacker forge segments, flood the hosts and hold slow sockets at the metrics
    #[arg(long)]
    attack: bool,
    /// Leave real brokers and clients out
    #[arg(long)]
    without_kafka: bool,
}

/// Whether everything is accounted for.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    kreset_lab::check()?;
    let tracer = options.tracer.find()?;
    kreset_lab::sweep()?;
    kreset_lab::kafka::scratch::sweep();
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    // Another one each time.
    let of_the_clock = || Timestamp::now().as_microsecond().unsigned_abs() % 1_000_000_000;
    let seed = options.seed.unwrap_or_else(of_the_clock);
    say(format_args!(
        "seed {seed}; --seed {seed} repeats its choices"
    ));
    let settings = soak::Settings {
        tracer,
        time: Duration::from_secs(options.minutes.saturating_mul(60)),
        seed,
        kafka: !options.without_kafka,
        attack: options.attack,
    };
    let report = soak::run(&settings, &stop, &|text| complain(text))?;
    say(&report);
    let complaints = report.complaints();
    for complaint in &complaints {
        complain(complaint);
    }
    say(if complaints.is_empty() {
        "everything is accounted for"
    } else {
        "not everything is accounted for"
    });
    Ok(complaints.is_empty())
}
