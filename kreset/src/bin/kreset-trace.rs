//! kreset-trace: says who reset a Kafka connection, and why.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use kreset::{
    cli::{self, Command},
    exit::Exit,
    run::run,
};

fn main() -> ExitCode {
    let exit = match cli::parse(std::env::args_os()) {
        Ok(Command::Run(options)) => match run(&options) {
            Ok(()) => Exit::Done,
            Err(error) => fail(&error, error.exit()),
        },
        Ok(Command::Print(text)) => print(&text),
        Err(error) => fail(&error, Exit::Usage),
    };
    ExitCode::from(exit.code())
}

/// One sentence on standard error, if the exit code is worth one.
fn fail(error: &dyn std::error::Error, exit: Exit) -> Exit {
    if exit != Exit::Done {
        // Nobody is left to tell if this fails.
        let _unheard = writeln!(io::stderr(), "kreset-trace: {error}");
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
