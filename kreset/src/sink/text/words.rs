//! What a finding says, in the words of its block.

use std::fmt;

use super::fold::Fold;
use crate::{
    event::{Cause, Client, Finding, Loss, PROBE_PROCESS, Path, Process, ProvokedBy, Role},
    util::{
        escape::Escaped,
        units::{count, percent, precise, rough},
    },
};

/// Whose connection to whom.
pub(super) fn ends(finding: &Finding, fold: &Fold, with_netns: bool) -> String {
    let broker = finding.socket_of(Role::Broker);
    let clients = fold.clients();
    let client = &finding.client;
    let id = client
        .id
        .as_deref()
        .map_or_else(String::new, |id| format!("{} ", Escaped(&shortened(id))));
    let whose = if clients > 1 {
        format!(
            "{clients} clients, last {id}{}",
            finding.socket_of(Role::Client)
        )
    } else if fold.count > 1 {
        format!("{id}{}", Escaped(&finding.host_of(Role::Client)))
    } else {
        format!("{id}{}", finding.socket_of(Role::Client))
    };
    let software = software(client);
    let owner = |role| finding.process_of(role).map(|it| owner(it, with_netns));
    let mut of_client = software.clone();
    if let Some(here) = owner(Role::Client) {
        // Of `java` and `java 4.3.0` the second says both.
        of_client.extend(here.into_iter().filter(|it| !is_program_of(it, &software)));
    } else if finding.kreset_probe.is_some() && software.is_empty() {
        of_client.push(PROBE_PROCESS.to_owned());
    }
    let of_broker = owner(Role::Broker).unwrap_or_default();
    let (of_client, of_broker) = (bracketed(&of_client), bracketed(&of_broker));
    format!("{whose}{of_client} -> broker {broker}{of_broker}")
}

/// Columns of a `client.id` that are shown.
const ID_WIDTH: usize = 32;

fn shortened(id: &str) -> String {
    let mut short: String = id.chars().take(ID_WIDTH).collect();
    if short.len() < id.len() && !short.ends_with('…') {
        short.push('…');
    }
    short
}

/// The client's software and its version, by the name that people call it.
fn software(client: &Client) -> Vec<String> {
    let Some(software) = client.software.as_deref() else {
        return Vec::new();
    };
    let name = match software {
        "apache-kafka-java" => "java",
        other => other,
    };
    let version = client.version.as_deref();
    vec![version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}"))]
}

fn is_program_of(name: &str, software: &[String]) -> bool {
    software
        .first()
        .is_some_and(|it| it.split(' ').next() == Some(name))
}

/// In brackets, with a space before them.
fn bracketed(facts: &[String]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    format!(" ({})", Escaped(&facts.join(", ")))
}

/// The owner of a socket of this host.
fn owner(process: &Process, with_netns: bool) -> Vec<String> {
    let mut facts: Vec<String> = Vec::new();
    facts.extend(process.program().map(ToOwned::to_owned));
    if let Some(pod) = process.pod_name.as_ref().or(process.pod_uid.as_ref()) {
        let namespace = process.pod_namespace.as_ref();
        facts.push(match namespace {
            Some(namespace) => format!("pod {namespace}/{pod}"),
            None => format!("pod {pod}"),
        });
    } else if let Some(id) = &process.container_id {
        facts.push(format!("container {}", id.get(..12).unwrap_or(id)));
    } else if let Some(unit) = &process.systemd_unit {
        facts.push(unit.to_string());
    } else if let Some(pid) = process.pid {
        facts.push(format!("pid {pid}"));
    }
    if let Some(netns) = process.netns.filter(|_| with_netns) {
        facts.push(format!("netns {netns}"));
    }
    facts
}

/// What was measured, as far as it bears on the cause.
pub(super) fn facts(finding: &Finding, fold: &Fold) -> String {
    let mut facts = Vec::new();
    if finding.cause.is_none() {
        let shares: Vec<_> = finding
            .candidates
            .iter()
            .map(|it| format!("{} {}", it.verdict, percent(it.share)))
            .collect();
        facts.push(shares.join(", "));
    }
    let is_of_idle = matches!(
        finding.cause,
        Some(Cause::ResetOnSend | Cause::ResetOnTimer | Cause::Blackholed | Cause::IdleClose)
    );
    // Of repeats that have nothing to do with silence it says nothing.
    let idle_ms = fold.idle_ms.filter(|_| is_of_idle || fold.count == 1);
    if let Some((low, high)) = idle_ms {
        let (low, high) = (precise(low), precise(high));
        facts.push(if low == high {
            format!("idle {low}")
        } else {
            format!("idle {low} to {high}")
        });
    }
    if is_of_idle {
        facts.extend(silences(&finding.path));
    } else if let (Some(age), 1) = (finding.connection.age_ms, fold.count) {
        facts.push(format!("age {}", rough(age)));
    }
    if let Some(reason) = &finding.reset.kernel_reason {
        facts.push(format!("kernel: {}", Escaped(reason)));
    }
    if finding.connection.provoked_by == Some(ProvokedBy::Close) {
        facts.push("only answered this host's close".to_owned());
    }
    facts.join("; ")
}

/// The silences that a path has come through and died of.
pub(super) fn silences(path: &Path) -> Vec<String> {
    let mut facts = Vec::new();
    let (survived, fatal) = (path.survived_idle_ms, path.fatal_idle_ms);
    facts.extend(match (survived.map(precise), fatal.map(precise)) {
        (Some(survived), Some(fatal)) => Some(format!("the path survived {survived}, not {fatal}")),
        (Some(survived), None) => Some(format!("the path survived {survived}")),
        (None, Some(fatal)) => Some(format!("the path died after {fatal}")),
        (None, None) => None,
    });
    if !path.devices.is_empty() {
        facts.push(format!("fits {}", Escaped(&path.devices.join(", "))));
    }
    facts
}

/// What was lost and where, in one clause.
pub(in crate::sink) struct Lost<'a>(pub(in crate::sink) &'a Loss);

impl fmt::Display for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.0.lost;
        match self.0.source.as_str() {
            "kernel_skipped" => write!(f, "up to {} skipped by the kernel", count(lost, "call")),
            "kernel_untracked" => {
                write!(
                    f,
                    "{} not remembered in the kernel",
                    count(lost, "connection")
                )
            }
            "netns" => f.write_str("the traced network namespace has ended: nothing is traced"),
            "limiter" => {
                write!(
                    f,
                    "{} counted only, as many others were alike",
                    count(lost, "event")
                )?;
                let mut brokers = self.0.by_broker.iter();
                if let Some(most) = brokers.next() {
                    write!(f, ": {} of {}", most.lost, super::socket(most.broker))?;
                }
                for other in brokers {
                    write!(f, ", {} of {}", other.lost, super::socket(other.broker))?;
                }
                Ok(())
            }
            source => write!(f, "{} lost in {}", count(lost, "record"), Escaped(source)),
        }
    }
}
