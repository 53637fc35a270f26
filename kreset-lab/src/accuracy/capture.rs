//! What the tracer makes of a host's packets alone: its own `read` judges a capture of them.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use crate::{
    Side,
    driver::{Options, Said},
    error::{Context as _, Error, Result},
    event::Event,
    trace::wire::Wire,
};

/// Has `program` judge what passed before the host of `side`, with the options of its tracer.
///
/// # Errors
/// [`Error::Tracer`] if it fails, or writes what is not of the contract.
pub(crate) fn read(program: &Path, wire: &Wire, side: Side, options: &Options) -> Result<Said> {
    let failed = |what: String| Error::Tracer {
        host: format!("a capture of the {side} host"),
        what,
        status: None,
        stderr: String::new(),
    };
    let mut packets = Vec::new();
    wire.write_pcap(side, &mut packets)
        .context(|| "write a capture to memory".to_owned())?;
    let mut command = Command::new(program);
    command.args(["read", "-"]).args(options.of_any_source());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| format!("start {}", program.display()))?;
    let stdin = child.stdin.take();
    let writer = thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&packets)));
    let output = child
        .wait_with_output()
        .context(|| "read what is made of a capture".to_owned())?;
    // What it did not read shows in its output.
    let _written = writer.join();
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if !output.status.success() {
        return Err(failed(format!(
            "read ended with {}: {stderr}",
            output.status
        )));
    }
    let events = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| Event::parse(line).map_err(|error| failed(format!("{error}: {line}"))))
        .collect::<Result<_>>()?;
    Ok(Said {
        events,
        garbage: Vec::new(),
        stderr,
    })
}
