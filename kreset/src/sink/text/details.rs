//! Everything that a finding rests on, line by line under it (`-vv`).

use std::fmt::{Display, Write as _};

use super::words::silences;
use crate::{
    event::{
        AcceptQueue, Client, Connection, Evidence, Finding, Load, OpenFiles, OtherEnd, Path,
        Process, Proof, Reset, class_name,
    },
    util::{
        escape::Escaped,
        units::{bytes, percent, precise},
    },
};

/// Every weight, and everything known of `finding`: names and what belongs to them.
pub(super) fn lines(finding: &Finding) -> Vec<(String, String)> {
    let shares: Vec<_> = finding
        .candidates
        .iter()
        .map(|it| format!("{} {}", it.verdict, percent(it.share)))
        .collect();
    let class = class_name(finding.verdict, finding.cause);
    let load = finding.load.as_deref().map(load);
    let other_end = finding.other_end.as_deref().map(other_end);
    let mut lines: Vec<(String, String)> = finding.evidence.iter().map(evidence).collect();
    lines.extend(
        [
            line("class", &[class]),
            line("candidates", &shares),
            line("connection", &connection(&finding.connection)),
            line("reset", &reset(&finding.reset)),
            line("addresses", &addresses(finding)),
            line("client", &client(&finding.client)),
            line("process", &process(&finding.process)),
            line("process end", &process_end(finding)),
            line("load", &load.unwrap_or_default()),
            line("other end", &other_end.unwrap_or_default()),
            line("path", &path(&finding.path)),
            line("community_id", &[finding.community_id.to_string()]),
        ]
        .into_iter()
        .flatten(),
    );
    lines
}

/// One line, unless nothing is known.
fn line(name: &str, facts: &[String]) -> Option<(String, String)> {
    let facts = Escaped(&facts.join(", ")).to_string();
    (!facts.is_empty()).then(|| (name.to_owned(), facts))
}

/// A fact and what it weighed, the heaviest first.
fn evidence(evidence: &Evidence) -> (String, String) {
    let mut text = Escaped(&evidence.value).to_string();
    for it in evidence.weights.iter() {
        // Writing to memory does not fail.
        let _written = write!(text, "  {:+.1} {}", it.weight, Escaped(&it.class));
    }
    if evidence.proof == Proof::Forgeable {
        text.push_str("  (forgeable)");
    }
    (Escaped(&evidence.name).to_string(), text)
}

/// Those facts of which there is something to say.
fn known<const N: usize>(facts: [Option<String>; N]) -> Vec<String> {
    facts.into_iter().flatten().collect()
}

/// `name value` where there is a value.
fn fact(name: &str, value: Option<impl Display>) -> Option<String> {
    value.map(|value| format!("{name} {value}"))
}

fn connection(it: &Connection) -> Vec<String> {
    known([
        it.state.as_ref().map(ToString::to_string),
        fact("wire idle", it.wire_idle_ms.map(precise)),
        fact("provoked by", it.provoked_by),
        fact(
            "reset after",
            it.reset_delay_us.map(|us| format!("{us} us")),
        ),
        fact("retransmits", it.retransmits),
        fact("bytes sent", it.bytes_sent),
        fact("received", it.bytes_received),
        fact("srtt", it.srtt_us.map(|us| format!("{us} us"))),
        fact("min rtt", it.min_rtt_us.map(|us| format!("{us} us"))),
        fact("flow", it.flow_id),
    ])
}

fn reset(it: &Reset) -> Vec<String> {
    known([
        fact("flags", it.flags.as_ref()),
        fact("sequence", it.sequence),
        fact("ttl", it.ttl),
        fact("handshake ttl", it.handshake_ttl),
        fact("ip id", it.ip_id),
        fact("window", it.window),
        it.timestamps
            .map(|with| format!("{} timestamps", if with { "with" } else { "without" })),
    ])
}

/// Where names stand in place of them.
fn addresses(finding: &Finding) -> Vec<String> {
    let Some(names) = finding.host_names.as_deref() else {
        return Vec::new();
    };
    known([
        fact(
            "client",
            names.client.as_ref().map(|_| finding.client.address),
        ),
        fact(
            "broker",
            names.broker.as_ref().map(|_| finding.broker.address),
        ),
    ])
}

fn client(it: &Client) -> Vec<String> {
    known([
        fact("id", it.id.as_ref()),
        fact("software", it.software.as_ref()),
        fact("version", it.version.as_ref()),
    ])
}

fn process(it: &Process) -> Vec<String> {
    known([
        fact("program", it.executable.as_ref()),
        fact("thread", it.name.as_ref()),
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
    ])
}

fn load(it: &Load) -> Vec<String> {
    let queue = it.accept_queue.map(|queue| {
        let dropped = queue.drops.map(|drops| format!(", {drops} dropped"));
        let AcceptQueue { length, limit, .. } = queue;
        format!(
            "accept queue {length} of {limit}{}",
            dropped.unwrap_or_default()
        )
    });
    let files = it
        .open_files
        .map(|OpenFiles { open, limit }| format!("{open} of {limit} files open"));
    let pressure = it.pressure.iter().flat_map(|pressure| {
        let of = pressure.of.as_deref().unwrap_or("the host");
        [
            ("processor", pressure.cpu),
            ("memory", pressure.memory),
            ("disk", pressure.io),
        ]
        .into_iter()
        .filter_map(move |(name, share)| Some(format!("{name} pressure {:.1}% in {of}", share?)))
    });
    [
        it.unread_bytes
            .map(|unread| format!("{} unread", bytes(unread))),
        it.receive_window_bytes
            .map(|left| format!("window {}", bytes(left.into()))),
        it.peer_window_bytes
            .map(|left| format!("peer's window {}", bytes(left.into()))),
        it.unanswered
            .filter(|it| *it)
            .map(|_| "request unanswered".to_owned()),
        queue,
        files,
    ]
    .into_iter()
    .flatten()
    .chain(pressure)
    .collect()
}

fn process_end(finding: &Finding) -> Vec<String> {
    let Some(it) = &finding.process_end else {
        return Vec::new();
    };
    known([
        Some(it.what.to_string()),
        Some(it.summary.to_string()),
        fact("process", it.name.as_ref()),
        fact("pid", Some(it.pid)),
        fact("ended before", it.ended_ms.map(precise)),
    ])
}

fn other_end(it: &OtherEnd) -> Vec<String> {
    let mut facts = known([
        Some(it.role.to_string()),
        Some(it.direction.to_string()),
        fact("at", Some(it.time)),
        it.state.as_ref().map(ToString::to_string),
        fact("wire idle", it.wire_idle_ms.map(precise)),
        fact("kernel", it.kernel_reason.as_ref()),
    ]);
    facts.extend(process(&it.process));
    facts
}

fn path(it: &Path) -> Vec<String> {
    let mut facts: Vec<_> = fact("pattern", it.pattern.as_ref()).into_iter().collect();
    if it.samples > 0 {
        facts.push(format!("samples {}", it.samples));
        facts.extend(silences(it));
    }
    facts
}
