//! kreset-trace: shows who reset a Kafka connection, and why.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use kreset::{
    cli::{self, Command, check, correlate, explain, sample, show, top},
    probe, report,
    run::{RunError, read::read, run, signals},
    sink::Format,
    util::{
        exit::Exit,
        stderr::{self, log},
    },
};

/// Time limit for what is left to be written to standard error.
const LAST_WORDS: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    // A reload may be asked for as soon as there is a process.
    if let Err(error) = signals::hold_reloads() {
        return fail(&error, error.exit()).into();
    }
    let command = cli::parse(std::env::args_os());
    if !matches!(command, Ok(Command::Run(_)))
        && let Err(error) = signals::release_reloads()
    {
        return fail(&error, error.exit()).into();
    }
    let exit = match command {
        Ok(Command::Run(options)) => ended(run(&options, cli::read_again)),
        Ok(Command::Sample(wanted)) => ended(sample::run(&wanted)),
        Ok(Command::Read(wanted)) => ended(read(&wanted.options, &wanted.files, wanted.seen_from)),
        Ok(Command::Report(wanted)) => match report::run(&wanted) {
            Ok(()) => Exit::Done,
            Err(error) => fail(&error, error.exit()),
        },
        Ok(Command::Check(options)) => {
            let report = check::check(&options);
            let text = if options.format == Format::Json {
                report.json()
            } else {
                report.to_string()
            };
            match print(&text) {
                Exit::Done => report.exit(),
                failed => failed,
            }
        }
        Ok(Command::Probe(wanted)) => {
            let mut encoder = wanted.format.encoder_of_stdout(wanted.view);
            match probe::run(&wanted.options, encoder.as_mut()) {
                Ok(exit) => exit,
                Err(error) => fail(&error, error.exit()),
            }
        }
        Ok(Command::Correlate(wanted)) => match correlate::run(&wanted) {
            Ok(()) => Exit::Done,
            Err(error) => fail(&error, error.exit()),
        },
        Ok(Command::Show(wanted)) => match show::run(&wanted) {
            Ok(()) => Exit::Done,
            Err(error) => fail(&error, error.exit()),
        },
        Ok(Command::Explain(wanted)) => match explain::run(&wanted) {
            Ok(()) => Exit::Done,
            Err(error) => fail(&error, error.exit()),
        },
        Ok(Command::Top(wanted)) => match top::run(&wanted) {
            Ok(()) => Exit::Done,
            Err(error) => fail(&error, error.exit()),
        },
        Ok(Command::Print(text)) => print(&text),
        Err(error) => fail(&error, Exit::Usage),
    };
    stderr::finish(LAST_WORDS);
    exit.into()
}

fn ended(result: Result<(), RunError>) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(error) => fail(&error, error.exit()),
    }
}

/// Logs the error, unless the exit code is 0.
fn fail(error: &dyn std::error::Error, exit: Exit) -> Exit {
    if exit != Exit::Done {
        // A configuration may have several errors, each on a line.
        for line in error.to_string().lines() {
            log(format_args!("{line}"));
        }
    }
    exit
}

fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(_) => Exit::Failed,
    }
}
