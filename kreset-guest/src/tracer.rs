//! Runs `kreset-trace` in the guest.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Result;
use kreset_lab::{Error, Stop, driver::Tracer, event::Event};

/// The program, in the guest.
pub(crate) const PROGRAM: &str = "/kreset-trace";
/// The ports of the brokers.
pub(crate) const PORTS: &str = "9092-9119";
/// How long it may take to attach, and to end: the guest's processor is emulated.
const PATIENCE: Duration = Duration::from_mins(1);

/// The command that every run begins with.
pub(crate) fn command() -> Command {
    command_of(PROGRAM)
}

/// The same, of another copy of the program.
pub(crate) fn command_of(program: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--port", PORTS, "--format", "json", "--all"]);
    command.stderr(Stdio::piped());
    command
}

/// A tracer that did not start.
pub(crate) struct Refused {
    pub(crate) status: Option<i32>,
    pub(crate) complaint: String,
}

impl Refused {
    /// Whether it refused to start as it should: exit 3 with one sentence.
    pub(crate) fn is_orderly(&self) -> bool {
        let Self { status, complaint } = self;
        *status == Some(3) && complaint.lines().count() == 1 && complaint.contains(": ")
    }
}

/// Starts `command` and waits until it is attached.
pub(crate) fn start(command: Command) -> Result<std::result::Result<Tracer, Refused>> {
    match Tracer::spawn("the guest", command, PATIENCE, &Stop::default()) {
        Ok(tracer) => Ok(Ok(tracer)),
        Err(Error::Tracer { status, stderr, .. }) => Ok(Err(Refused {
            status: status.and_then(|status| status.code()),
            complaint: stderr,
        })),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the first event that is `wanted`.
pub(crate) fn wait_for(
    tracer: &Tracer,
    patience: Duration,
    wanted: impl Fn(&Event) -> bool,
) -> Option<Event> {
    tracer.wait_for("an event", patience, wanted).ok()
}

/// The event of a connection at the client whose port is `port`.
pub(crate) fn is_of_client(event: &Event, port: u16) -> bool {
    event.is_about_a_connection()
        && (event.role.as_deref() == Some("client") || is_of_both_ends(event))
        && event.client.as_ref().and_then(|end| end.port) == Some(port)
}

/// Both ends are on this host: the event of one has the view of the other.
fn is_of_both_ends(event: &Event) -> bool {
    event.line.contains("\"other_end\":{")
}

/// Lets it end in order; all of its events.
pub(crate) fn end(tracer: Tracer) -> Result<Vec<Event>> {
    Ok(tracer.finish_within(PATIENCE)?.events)
}
