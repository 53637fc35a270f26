//! What the reports of both hosts prove together: the tracer's own `correlate` reads them.

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::IpAddr,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use serde_json::Value;

use super::Said;
use crate::{
    Side,
    error::{Context as _, Error, Result},
    event::Event,
};

/// Has `program` join what the tracers of both hosts said, and returns its findings.
///
/// # Errors
/// [`Error::Tracer`] if it fails, or writes what is not of the contract.
pub(crate) fn correlate(program: &Path, said: [&Said; 2]) -> Result<Vec<Event>> {
    let failed = |what: String| Error::Tracer {
        host: "both hosts".to_owned(),
        what,
        status: None,
        stderr: String::new(),
    };
    let mut child = Command::new(program)
        .args(["correlate", "--format", "json", "--all", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| format!("start {}", program.display()))?;
    let input = input(said);
    let stdin = child.stdin.take();
    let writer = thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
    let output = child
        .wait_with_output()
        .context(|| "read what correlate writes".to_owned())?;
    // What it did not read shows in its output.
    let _written = writer.join();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!(
            "correlate ended with {}: {stderr}",
            output.status
        )));
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    lines
        .lines()
        .map(|line| Event::parse(line).map_err(|error| failed(format!("{error}: {line}"))))
        .collect()
}

/// The lines of both hosts.
///
/// Each host of the lab has a whole network's addresses by one route, which `coverage` cannot
/// name; in the field a host lists the addresses it has. So those that were used are added.
fn input(said: [&Said; 2]) -> String {
    let events = || said.into_iter().flat_map(Said::about_connections);
    let mut text = String::new();
    for (side, said) in Side::BOTH.into_iter().zip(said) {
        let own = |event: &Event| {
            let (client, broker) = event.ends()?;
            Some(match side {
                Side::Client => client.ip(),
                Side::Broker => broker.ip(),
            })
        };
        let addresses: BTreeSet<IpAddr> = events().filter_map(own).collect();
        for event in &said.events {
            text.push_str(&with_addresses(event, &addresses));
            text.push('\n');
        }
    }
    text
}

fn with_addresses(event: &Event, addresses: &BTreeSet<IpAddr>) -> String {
    if event.kind != "summary" {
        return event.line.clone();
    }
    let Ok(mut line) = serde_json::from_str::<Value>(&event.line) else {
        return event.line.clone();
    };
    let listed = line.pointer_mut("/coverage/addresses");
    if let Some(listed) = listed.and_then(Value::as_array_mut) {
        listed.extend(addresses.iter().map(|it| it.to_string().into()));
    }
    line.to_string()
}
