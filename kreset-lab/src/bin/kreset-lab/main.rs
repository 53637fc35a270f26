//! `kreset-lab`: reproduce who resets a Kafka connection, and judge what `kreset-trace` says.

mod accuracy;
#[cfg(feature = "full")]
mod bench;
mod crowd;
mod list;
#[cfg(feature = "full")]
mod soak;
mod tracer_option;

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write as _},
    net::IpAddr,
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use clap::{Parser, Subcommand};
use kreset_lab::{
    Error, Family, Stop,
    case::{self, Group, Scenario, Settings},
    net::{broker_process, holder},
    report,
    runner::{self, Progress},
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    iterator::Signals,
};

use crate::tracer_option::TracerOption;

/// A tracer was wrong, or a scenario failed.
const WRONG: u8 = 1;
const USAGE: u8 = 2;
const CANNOT_RUN_HERE: u8 = 3;
/// As shells report a program that Ctrl-C ended.
const STOPPED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  kreset-lab list
  kreset-lab run device.aws-nlb --client java --keep /tmp/nlb
  kreset-lab run device.azure-lb-reset --scale 20
  kreset-lab run --kafka --jobs 3
  kreset-lab shell idle-admin.librdkafka";

#[derive(Parser)]
#[command(
    version,
    about = "Reset Kafka connections in network namespaces, and judge what kreset-trace says",
    after_help = EXAMPLES
)]
struct Cli {
    /// What to do [default: run all scenarios of the tracer's main job]
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Show the scenarios, by group
    List(list::Options),
    /// Run scenarios, and judge the tracer on both hosts of each
    Run(Run),
    /// Run one scenario and, before it is judged, keep its network up for a shell on the client's
    /// host
    Shell(Run),
    /// Be a broker; not for people
    #[command(name = broker_process::SUBCOMMAND, hide = true)]
    BrokerProcess {
        family: Family,
        answers: u32,
        address: Option<IpAddr>,
    },
    /// Hold connections open; not for people
    #[command(name = holder::SUBCOMMAND, hide = true)]
    HoldConnections(holder::Task),
    /// Judge the tracer on a labelled matrix of resets, and say how far its confidence is right
    Accuracy(accuracy::Options),
    /// Hold very many connections at once, reset some, and measure the tracer
    Crowd(crowd::Options),
    /// Let everything happen at random for a while, and then account for each reset
    #[cfg(feature = "full")]
    Soak(soak::Options),
    /// Measure what the tracer costs
    #[cfg(feature = "full")]
    Bench(bench::Options),
}

#[derive(Parser)]
struct Run {
    /// Scenarios or groups to run, the group `core` if none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    tracer: TracerOption,
    /// Run the scenarios and check the wire, without a tracer to judge
    #[arg(long, conflicts_with = "tracer")]
    no_tracer: bool,
    /// After how long the devices forget a silent connection
    #[arg(long, value_name = "T", default_value = "3s", value_parser = whole_seconds)]
    idle_timeout: Duration,
    /// Leave packets and the tracers' JSON of each scenario in a directory below DIR
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// How many scenarios run at once
    #[arg(long, value_name = "N", default_value = "4")]
    jobs: NonZeroUsize,
    /// Run the scenarios of the finer causes as well
    #[arg(long)]
    further: bool,
    /// Run the scenarios with real brokers and clients, in place of the others; `cargo xtask setup
    /// --kafka` installs these
    #[arg(long)]
    kafka: bool,
    /// Of the scenarios with real clients run only those with this one
    #[arg(long, value_name = "SOFTWARE", value_parser = ["java", "librdkafka", "kafkajs"])]
    client: Option<String>,
    /// Let devices that are modelled after real ones be N times as quick as those, rather than
    /// all as quick as --idle-timeout says
    #[arg(long, value_name = "N", value_parser = factor, conflicts_with = "idle_timeout")]
    scale: Option<f64>,
    /// Say when each scenario begins
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        None => exit_code(run(&Run::parse_from([env!("CARGO_PKG_NAME")]), false)),
        Some(Command::Run(options)) => exit_code(run(&options, false)),
        Some(Command::Shell(options)) => exit_code(run(&options, true)),
        Some(Command::List(options)) => {
            say(list::list(&options, &case::scenarios()));
            ExitCode::SUCCESS
        }
        Some(Command::Accuracy(options)) => exit_code(accuracy::run(&options)),
        Some(Command::Crowd(options)) => exit_code(crowd::run(&options)),
        #[cfg(feature = "full")]
        Some(Command::Soak(options)) => exit_code(soak::run(&options)),
        #[cfg(feature = "full")]
        Some(Command::Bench(options)) => exit_code(bench::run(&options)),
        Some(Command::HoldConnections(task)) => {
            exit_code(holder::serve(&task).map(|()| true).map_err(Into::into))
        }
        Some(Command::BrokerProcess {
            family,
            answers,
            address,
        }) => {
            let served = broker_process::serve(family, answers, address);
            exit_code(served.map(|()| true).map_err(Into::into))
        }
    }
}

/// Says in one sentence what went wrong, if anything, and turns it into the exit code.
fn exit_code(result: anyhow::Result<bool>) -> ExitCode {
    let error = match result {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => return WRONG.into(),
        Err(error) => error,
    };
    complain(format_args!("{error:#}"));
    match error.downcast_ref::<Error>() {
        Some(Error::Stopped) => STOPPED.into(),
        Some(error) if error.cannot_run_here() => CANNOT_RUN_HERE.into(),
        Some(_) => WRONG.into(),
        None => USAGE.into(),
    }
}

/// Prints a line; a reader that went away has seen enough.
fn say(text: impl fmt::Display) {
    let _printed = writeln!(io::stdout(), "{text}");
}

/// Prints a line to standard error.
fn complain(text: impl fmt::Display) {
    let _printed = writeln!(io::stderr(), "kreset-lab: {text}");
}

/// Whether everybody was right.
fn run(options: &Run, shell: bool) -> anyhow::Result<bool> {
    let mut scenarios = select(options)?;
    kreset_lab::check()?;
    if shell {
        if options.names.is_empty() {
            return Err(anyhow!("name the scenario that the shell is wanted for"));
        }
        scenarios.truncate(1);
    }
    let settings = Settings {
        tracer: if options.no_tracer {
            None
        } else {
            Some(options.tracer.find()?)
        },
        idle_timeout: options.idle_timeout,
        keep: options.keep.clone(),
        own_binary: None,
        scale: options.scale,
        shell,
    };
    let scenarios = leave_out(scenarios, options)?;
    match kreset_lab::sweep()? {
        0 => {}
        swept => complain(format_args!(
            "removed {swept} namespaces that a dead lab had left"
        )),
    }
    kreset_lab::kafka::scratch::sweep();
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    let began = Instant::now();
    let mut ended = 0;
    let show = |event: Progress<'_>| match event {
        Progress::Began(scenario) if options.verbose => {
            complain(format_args!("{} begins", scenario.name()));
        }
        Progress::Ended(report) if stop.check().is_ok() => {
            ended += 1;
            say(report.details());
        }
        // Its user has the terminal.
        Progress::Waiting(_) if shell => {}
        Progress::Waiting(under_way) => {
            complain(format_args!("{ended} of {} ended", scenarios.len()));
            for scenario in under_way {
                complain(format_args!("  {}: {}", scenario.name, scenario.activity));
            }
        }
        Progress::Began(_) | Progress::Ended(_) => {}
    };
    let reports = runner::run(&scenarios, options.jobs, &settings, &stop, show);
    if stop.check().is_err() {
        return Err(Error::Stopped.into());
    }
    say(report::table(&reports));
    let right = reports.iter().filter(|report| report.is_right()).count();
    let judged = if settings.tracer.is_some() {
        "right on both hosts"
    } else {
        "ran as expected"
    };
    say(format_args!(
        "{right} of {} scenarios {judged}, in {:.0} s",
        reports.len(),
        began.elapsed().as_secs_f64()
    ));
    if let Some((shortest, longest)) = report::attach_times(&reports) {
        say(format_args!(
            "tracers attached in {shortest:.0} to {longest:.0} ms, {} at once",
            2 * options.jobs.get().min(reports.len())
        ));
    }
    Ok(right == reports.len())
}

/// Leaves out the scenarios whose parts are not installed, and says so, unless they were named.
fn leave_out(scenarios: Vec<Scenario>, options: &Run) -> anyhow::Result<Vec<Scenario>> {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept = Vec::new();
    let mut missing = None;
    for scenario in scenarios {
        match scenario.check_parts() {
            Ok(()) => kept.push(scenario),
            Err(error) if options.names.is_empty() => {
                *reasons.entry(error.to_string()).or_default() += 1;
                missing = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let (true, Some(error)) = (kept.is_empty(), missing) {
        return Err(error.into());
    }
    for (reason, count) in reasons {
        complain(format_args!("{count} scenarios are left out: {reason}"));
    }
    if options.names.is_empty() && !options.kafka {
        let real = case::scenarios()
            .iter()
            .filter(|scenario| scenario.group() == Group::Kafka)
            .count();
        complain(format_args!(
            "{real} scenarios with real brokers and clients are left out: --kafka runs them"
        ));
    }
    if kept.is_empty() {
        return Err(anyhow!("there is no scenario left to run"));
    }
    Ok(kept)
}

fn select(options: &Run) -> anyhow::Result<Vec<Scenario>> {
    let Run {
        names,
        further,
        kafka,
        ..
    } = options;
    let all = case::scenarios();
    for name in names {
        if !all.iter().any(|scenario| scenario.is_called(name)) {
            return Err(anyhow!(list::unknown(name, &all)));
        }
    }
    let wanted = |scenario: &Scenario| {
        if names.is_empty() {
            match scenario.group() {
                Group::Core => !kafka,
                Group::Further => *further && !kafka,
                Group::Kafka => *kafka,
            }
        } else {
            names.iter().any(|name| scenario.is_called(name))
        }
    };
    // What comes after the last dot; scenarios without a real client are everybody's.
    let client = |scenario: &Scenario| {
        let (Some(client), Some((_, of))) = (&options.client, scenario.name().rsplit_once('.'))
        else {
            return true;
        };
        scenario.group() != Group::Kafka || of == client
    };
    Ok(all
        .into_iter()
        .filter(|scenario| wanted(scenario) && client(scenario))
        .collect())
}

/// The first signal asks everything to end in order, a second one ends the process at once.
fn stop_on_signals(stop: &Stop) -> anyhow::Result<()> {
    const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        // In this order: the first one ends nothing yet.
        flag::register_conditional_shutdown(signal, STOPPED.into(), Arc::clone(&stopping))
            .and_then(|_| flag::register(signal, Arc::clone(&stopping)))
            .context("cannot listen to signals")?;
    }
    let mut signals = Signals::new(SIGNALS).context("cannot listen to signals")?;
    let stop = stop.clone();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            complain("stopping, and cleaning up");
            stop.request();
        }
    });
    Ok(())
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    match number
        .parse()
        .map(|number: u64| number.saturating_mul(unit))
    {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("give whole seconds or minutes up to a day, such as 3s or 6m".to_owned()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (1.0..=1e6).contains(&factor) => Ok(factor),
        _ => Err("give a number from 1 to 1000000, such as 100".to_owned()),
    }
}
