//! What a finding rests on, line by line under it (`-v`).

use std::fmt::{self, Display, Write as _};

use super::{INDENT, words::Silences};
use crate::{
    event::{Connection, Evidence, Finding, Path, Process, Reset},
    util::{
        escape::Escaped,
        units::{percent, precise},
    },
};

/// Width of a name; longer ones push the rest of their line.
const NAME: usize = 22;

/// Writes everything known of `finding` that its first line leaves out.
pub(super) fn write(out: &mut String, finding: &Finding) -> fmt::Result {
    for evidence in &finding.evidence {
        self::evidence(out, evidence)?;
    }
    if !finding.candidates.is_empty() {
        let shares: Vec<_> = finding
            .candidates
            .iter()
            .map(|it| format!("{} {}", it.verdict, percent(it.share)))
            .collect();
        line(out, "candidates", &shares)?;
    }
    line(out, "connection", &connection(&finding.connection))?;
    line(out, "reset", &reset(&finding.reset))?;
    line(out, "process", &process(&finding.process))?;
    line(out, "path", &path(&finding.path))?;
    line(out, "community_id", &[finding.community_id.to_string()])
}

/// One line, unless nothing is known.
fn line(out: &mut String, name: &str, facts: &[String]) -> fmt::Result {
    if facts.is_empty() {
        return Ok(());
    }
    writeln!(out, "{INDENT}{name:<NAME$}  {}", Escaped(&facts.join(", ")))
}

/// A fact and what it weighed, the heaviest first.
fn evidence(out: &mut String, evidence: &Evidence) -> fmt::Result {
    write!(
        out,
        "{INDENT}{:<NAME$}  {:<24}",
        Escaped(&evidence.name),
        Escaped(&evidence.value).to_string()
    )?;
    for it in evidence.weights.iter() {
        write!(out, "  {:+.1} {}", it.weight, Escaped(&it.class))?;
    }
    // A fact without weight leaves the padding of its value.
    out.truncate(out.trim_end().len());
    out.write_char('\n')
}

/// `name value` where there is a value.
fn fact(name: &str, value: Option<impl Display>) -> Option<String> {
    value.map(|value| format!("{name} {value}"))
}

fn connection(it: &Connection) -> Vec<String> {
    [
        it.state.as_ref().map(ToString::to_string),
        fact("wire idle", it.wire_idle_ms.map(precise)),
        fact("provoked by", it.provoked_by),
        fact("reset after", it.reset_delay_us.map(|us| format!("{us}us"))),
        fact("retransmits", it.retransmits),
        fact("bytes sent", it.bytes_sent),
        fact("received", it.bytes_received),
        fact("srtt", it.srtt_us.map(|us| format!("{us}us"))),
        fact("min rtt", it.min_rtt_us.map(|us| format!("{us}us"))),
        fact("flow", it.flow_id),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn reset(it: &Reset) -> Vec<String> {
    [
        fact("flags", it.flags.as_ref()),
        fact("sequence", it.sequence),
        fact("ttl", it.ttl),
        fact("handshake ttl", it.handshake_ttl),
        fact("ip id", it.ip_id),
        fact("window", it.window),
        it.timestamps
            .map(|with| format!("{} timestamps", if with { "with" } else { "without" })),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn process(it: &Process) -> Vec<String> {
    [
        it.name.as_ref().map(ToString::to_string),
        fact("pid", it.pid),
        fact("started", it.start_time.as_ref()),
        fact("cgroup", it.cgroup.as_ref()),
        fact("unit", it.systemd_unit.as_ref()),
        fact(
            "container",
            it.container_name.as_ref().or(it.container_id.as_ref()),
        ),
        fact("pod", it.pod_name.as_ref().or(it.pod_uid.as_ref())),
        fact("namespace", it.pod_namespace.as_ref()),
        fact("netns", it.netns),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn path(it: &Path) -> Vec<String> {
    let mut facts: Vec<_> = fact("pattern", it.pattern.as_ref()).into_iter().collect();
    if it.samples > 0 {
        facts.push(format!("samples {}{}", it.samples, Silences(it)));
    }
    facts
}
